"""Streamable HTTP and SSE on one port: who is let in, how bodies are read, how long it serves."""
