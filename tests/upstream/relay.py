"""Other ways to an `Upstream` than plain TCP: through TLS, and through a Unix socket."""

from __future__ import annotations

import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import quote, urlsplit

import anyio
from anyio.abc import ByteStream, Listener, SocketAttribute
from anyio.streams.tls import TLSListener

from tests.upstream.listener import LOOPBACK
from tests.upstream.upstream import Upstream


@asynccontextmanager
async def behind_tls(upstream: Upstream, context: ssl.SSLContext, host: str = "localhost") -> AsyncGenerator[str]:
    """Serve an upstream behind TLS, with the certificate of `context`; yields its base URL."""
    plain = await anyio.create_tcp_listener(local_host=LOOPBACK)
    port = plain.extra(SocketAttribute.local_port)
    async with _relayed(TLSListener(plain, context, standard_compatible=False), upstream):
        yield f"https://{host}:{port}/v1"


@asynccontextmanager
async def behind_socket(upstream: Upstream, path: Path) -> AsyncGenerator[str]:
    """Serve an upstream behind a Unix socket; yields its base URL."""
    async with _relayed(await anyio.create_unix_listener(path), upstream):
        yield f"http+unix://{quote(str(path), safe='')}/v1"


@asynccontextmanager
async def _relayed(listener: Listener[ByteStream], upstream: Upstream) -> AsyncGenerator[None]:
    port = urlsplit(upstream.base_url).port
    assert port is not None

    async def relay(outer: ByteStream) -> None:
        async with outer, await anyio.connect_tcp(LOOPBACK, port) as inner, anyio.create_task_group() as both:
            both.start_soon(_copy, outer, inner)
            await _copy(inner, outer)
            both.cancel_scope.cancel()

    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, relay)
        yield
        tasks.cancel_scope.cancel()


async def _copy(source: ByteStream, target: ByteStream) -> None:
    try:
        async for chunk in source:
            await target.send(chunk)
        await target.send_eof()
    except (anyio.BrokenResourceError, anyio.ClosedResourceError, NotImplementedError):
        pass  # one side has left, or TLS, which has no end of its own
