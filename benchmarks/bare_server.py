"""The smallest MCP server with a tool. The start of moa-mcp is compared with its start."""

from mcp.server.mcpserver import MCPServer

server = MCPServer("bare")


@server.tool()
async def echo(text: str) -> str:
    """Say the same again."""
    return text


if __name__ == "__main__":
    server.run("stdio")
