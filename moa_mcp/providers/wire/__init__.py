"""The HTTP client, server-sent events and API keys: what all dialects send and read through."""
