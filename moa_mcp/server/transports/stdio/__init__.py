"""MCP over the standard streams of the process."""
