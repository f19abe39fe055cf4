"""MCP over the stdin and stdout of the process."""
