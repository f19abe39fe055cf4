"""The smallest MCP server that has a tool: what moa-mcp's start is compared with."""

from mcp.server.mcpserver import MCPServer

server = MCPServer("bare")


@server.tool()
async def echo(text: str) -> str:
    """Say the same again."""
    return text


if __name__ == "__main__":
    server.run("stdio")
