"""The MCP face: it translates between the protocol and the service, and decides nothing."""
