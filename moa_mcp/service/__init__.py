"""What moa-mcp does, with no MCP and no terminal in it: ask, collect, cancel, list presets, configure."""
