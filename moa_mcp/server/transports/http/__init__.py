"""Streamable HTTP and SSE on one port: access control, request bodies, limits and shutdown."""
