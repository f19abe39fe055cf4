"""The HTTP client, server-sent events and API keys that all dialects use."""
