"""`moa-mcp serve`: the MCP server on this process's stdin and stdout."""

from __future__ import annotations

import logging

import anyio
import click

from moa_mcp.cli.logs import log_level

logger = logging.getLogger(__name__)


@click.command()
@click.option(
    "--transport",
    type=click.Choice(["stdio"]),
    default="stdio",
    envvar="MOA_MCP_TRANSPORT",
    show_default=True,
    show_envvar=True,
    help="How clients reach the server.",
)
@log_level
def serve(transport: str) -> None:
    """Serve MCP. stdout carries the protocol and nothing else."""
    anyio.run(_serve)


async def _serve() -> None:
    # The SDK is most of a start; `moa-mcp serve --help` does without it.
    from moa_mcp.server.stdio import serve_stdio
    from moa_mcp.wiring import open_service

    async with open_service() as service:
        if problem := service.settings.problem:
            logger.warning("%s Until it is mended, the defaults hold.", problem)
        await serve_stdio(service)
