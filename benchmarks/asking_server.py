"""The smallest MCP server whose tool does the same work as `moa_ask`. moa-mcp's own server is compared with it.

`python -m benchmarks.asking_server TRANSPORT PORT`, or without arguments on stdio.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from mcp.server.mcpserver import Context, MCPServer

from moa_mcp.api import open_service
from moa_mcp.service.service import AskRequest, Service
from moa_mcp.views import run as run_view


@asynccontextmanager
async def lifespan(server: MCPServer[Service]) -> AsyncGenerator[Service]:
    """Keep the service open while the server runs."""
    async with open_service() as service:
        yield service


server = MCPServer("bare", lifespan=lifespan)


@server.tool()
async def ask(question: str, context: Context[Service]) -> run_view.RunResult:
    """Ask the panel of the demo."""
    run = await context.request_context.lifespan_context.ask(AskRequest(question, preset="demo", fresh=True))
    return run_view.result(run)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["sse", port]:
            server.run("sse", port=int(port))
        case ["http", port]:
            server.run("streamable-http", port=int(port))
        case _:
            server.run("stdio")
