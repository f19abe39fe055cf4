"""The server on this process's stdin and stdout: stdout carries JSON-RPC and nothing else."""

from __future__ import annotations

from mcp.server.stdio import stdio_server

from moa_mcp.server.build import build_server
from moa_mcp.service.service import Service


async def serve_stdio(service: Service) -> None:
    """Serve until stdin ends."""
    server = build_server(service)
    async with stdio_server() as (incoming, outgoing):
        await server.run(incoming, outgoing, server.create_initialization_options())
