"""The MCP server: it translates between the protocol and the service, and contains no logic of its own."""
