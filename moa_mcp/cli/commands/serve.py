"""`moa-mcp serve`: the MCP server on stdin and stdout, or on a port."""

from __future__ import annotations

import gc
import logging
import os
import sys
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from threading import Timer
from typing import TYPE_CHECKING, Any

import anyio
import click
from click.core import ParameterSource

from moa_mcp.cli.logs import log_level

if TYPE_CHECKING:
    from moa_mcp.server.transports.http.options import HttpOptions
    from moa_mcp.service.service import Service

logger = logging.getLogger(__name__)

NEW_OBJECTS = 100_000
"""How many new objects start a collection of the youngest generation; Python's default is 700."""

GENERATIONS = (20, 20)
"""Collections of one generation before the next older one is collected, for both steps; Python's default is 10, 10."""

TERMINAL_HINT = (
    "moa-mcp: serving MCP to a program that talks to it over stdin and stdout. You are at a terminal: "
    "Ctrl-C ends it; `moa-mcp ask QUESTION` asks a panel, `moa-mcp --help` shows the rest."
)
"""Printed if a user starts the server on a terminal, because it would otherwise print nothing and wait."""


@dataclass(frozen=True, slots=True)
class TransportChoice:
    """A value of --transport: the function that runs the server, its options, and the protocols on its port."""

    run: Callable[..., None]
    options: frozenset[str] = frozenset()
    faces: tuple[str, ...] = ()


def _run_stdio(faces: Sequence[str], **options: Any) -> None:
    if sys.stdin.isatty():
        click.echo(TERMINAL_HINT, err=True)
    anyio.run(_serve_stdio)


def _run_http(faces: Sequence[str], **options: Any) -> None:
    # Imported here because a server on stdio needs no web server.
    from moa_mcp.server.transports.http.options import HttpOptions, parse_tokens

    tokens = parse_tokens(os.environ.get("MOA_MCP_TOKENS", ""))
    http = HttpOptions(faces=faces, tokens=tokens, allowed_hosts=options.pop("allowed_host"), **options)
    http.check()
    anyio.run(_serve_http, http)


_SSE_OPTIONS = frozenset({"host", "port", "allowed_host", "allow_configure", "requests_per_minute"})
_HTTP_OPTIONS = _SSE_OPTIONS | {"json_response", "stateless"}

TRANSPORTS = {
    "stdio": TransportChoice(_run_stdio),
    "http": TransportChoice(_run_http, _HTTP_OPTIONS, ("mcp", "sse")),
    "streamable-http": TransportChoice(_run_http, _HTTP_OPTIONS, ("mcp",)),
    "sse": TransportChoice(_run_http, _SSE_OPTIONS, ("sse",)),
}


def option(flag: str, **settings: Any) -> Callable[[Any], Any]:
    """An option that can also be given as a variable of its name: MOA_MCP_HOST for --host."""
    variable = f"MOA_MCP_{flag.removeprefix('--').replace('-', '_').upper()}"
    return click.option(flag, envvar=variable, show_envvar=True, show_default=True, **settings)


@click.command()
@option(
    "--transport",
    type=click.Choice(list(TRANSPORTS)),
    default="stdio",
    help="How clients reach the server; http is streamable-http and sse on one port.",
)
@option(
    "--host",
    default="127.0.0.1",
    help="The address to listen on. Any but this machine's own loopback needs MOA_MCP_TOKENS and --allowed-host.",
)
@option("--port", type=click.IntRange(0, 65535), default=8000, help="The port to listen on; 0 is any free one.")
@option(
    "--allowed-host",
    multiple=True,
    help="A name by which clients may reach the server, with or without a port (repeatable).",
)
@option("--allow-configure", is_flag=True, help="Let clients change presets and the default one with moa_configure.")
@option(
    "--json-response", is_flag=True, help="Answer at /mcp with JSON instead of streams, without reports of progress."
)
@option("--stateless", is_flag=True, help="Keep no sessions at /mcp for clients of 2025.")
@option(
    "--requests-per-minute",
    type=click.IntRange(min=1),
    default=6000,
    help="How many requests of one owner are served a minute.",
)
@log_level
@click.pass_context
def serve(ctx: click.Context, /, transport: str, **options: Any) -> None:
    """Serve MCP. On stdio, stdout carries the protocol and nothing else.

    MOA_MCP_TOKENS, as name=token pairs with commas between them, makes every request over HTTP need one of the
    tokens; the runs of each name are its own.
    """
    _check_options(ctx, transport, options)
    TRANSPORTS[transport].run(TRANSPORTS[transport].faces, **options)


def _check_options(ctx: click.Context, transport: str, options: Iterable[str]) -> None:
    """Refuse flags that have no effect. Variables without effect are accepted: they may be set for another server."""
    for name in sorted(set(options) - TRANSPORTS[transport].options):
        if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            flag = "--" + name.replace("_", "-")
            raise click.UsageError(f"{flag} does not fit --transport {transport}; leave it out.", ctx)


async def _serve_stdio() -> None:
    # Importing the SDK takes most of the start time. It is imported here so that `moa-mcp serve --help` skips it.
    # The imports create no garbage. Collecting during them would take a tenth of the start time.
    gc.disable()
    from moa_mcp.api import open_service
    from moa_mcp.server.transports.lifecycle import serve as run_server
    from moa_mcp.server.transports.stdio.serve import serve_stdio

    tune_gc()
    gc.enable()
    service = _log_config_problem(open_service())
    await run_server(serve_stdio, service, grace_seconds=1.0, on_end=partial(_exit_watchdog, 1.8))


async def _serve_http(options: HttpOptions) -> None:
    from moa_mcp.api import open_service
    from moa_mcp.server.transports.http.serve import HttpTransport
    from moa_mcp.server.transports.lifecycle import serve as run_server

    tune_gc()
    transport = HttpTransport(options, announce=partial(click.echo, err=True))
    service = _log_config_problem(open_service())
    await run_server(transport, service, grace_seconds=3.5, on_end=partial(_exit_watchdog, 4.5))


def tune_gc() -> None:
    """Make garbage collection rare: most objects here belong to modules, and runs leave few reference cycles.

    With Python's default settings, collection takes a tenth of a busy server's time, in pauses of up to 0.1 s.
    """
    gc.freeze()
    gc.set_threshold(NEW_OBJECTS, *GENERATIONS)


@asynccontextmanager
async def _log_config_problem(opening: AbstractAsyncContextManager[Service]) -> AsyncGenerator[Service]:
    """Open the service, and log what is wrong with its configuration, if anything."""
    async with opening as service:
        if problem := service.settings.problem:
            logger.warning("%s Until it is corrected, the defaults are used.", problem)
        yield service


def _exit_watchdog(seconds: float) -> None:
    """End the process after `seconds` if something blocks its end, such as a DNS look-up or a disk that hangs."""
    watchdog = Timer(seconds, os._exit, args=(0,))
    watchdog.daemon = True
    watchdog.start()
