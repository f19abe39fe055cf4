"""The operations of moa-mcp without MCP or terminal: ask, collect, cancel, list presets, configure."""
