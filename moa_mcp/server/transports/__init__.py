"""The transports: stdio, Streamable HTTP and SSE. All serve the same server."""
