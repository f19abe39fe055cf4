"""The server on a port: Streamable HTTP at /mcp, SSE at /sse, for many clients at once.

The web server is uvicorn with three changes: moa-mcp handles the signals, idle connections cannot block other clients,
and the shutdown has a time limit.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import partial
from math import ceil
from typing import Any

import anyio
import uvicorn
from anyio.abc import TaskStatus

from moa_mcp.domain.errors import InvalidRequest
from moa_mcp.server.sdk_compat.connections import HttpConnection
from moa_mcp.server.transports.http.access import RequestLimits
from moa_mcp.server.transports.http.application import MAX_HEAD_BYTES, Application
from moa_mcp.server.transports.http.connections import ConnectionLimit
from moa_mcp.server.transports.http.options import HttpLimits, HttpOptions
from moa_mcp.server.transports.http.requests import Exchanges
from moa_mcp.server.transports.lifecycle import Finish, Lifetime
from moa_mcp.service.service import Service

logger = logging.getLogger(__name__)

DRAIN_SECONDS = 0.5
"""Seconds for sending the last answers at shutdown."""

_SERVED = {"mcp": ("/mcp",), "sse": ("/sse",)}


class HttpTransport:
    """Listens at the address of the options, then calls `announce` with one line that names the address."""

    def __init__(
        self, options: HttpOptions, announce: Callable[[str], object], limits: HttpLimits | None = None
    ) -> None:
        self._options = options
        self._announce = announce
        self._limits = limits or HttpLimits()

    async def __call__(self, service: Service, lifetime: Lifetime, *, task_status: TaskStatus[Finish]) -> None:
        """Serve until cancelled or finished. Raises InvalidRequest if it cannot listen at the address."""
        options, limits = self._options, self._limits
        options.check()
        with _open_listener(options.host, options.port) as listener:
            host, port = listener.getsockname()[:2]
            async with Application.opened(service, options, limits) as application:
                request_limits = RequestLimits(options.max_connections)
                exchanges = Exchanges(application, application.before_body, request_limits, limits.body_seconds)
                web = _Web(exchanges, ConnectionLimit(options.max_connections), limits.head_seconds)
                service.registry.listening = ((host, port),)
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(web.serve_until_finished, listener)
                    try:
                        self._announce(f"moa-mcp: listening at {_addresses(options, host, port)}")
                        task_status.started(web.finish)
                        await anyio.sleep_forever()
                    finally:
                        with anyio.CancelScope(shield=True):
                            await web.finish()


class _Web(uvicorn.Server):
    """uvicorn without signal handlers, access log and server header."""

    def __init__(self, app: Exchanges, limit: ConnectionLimit, head_seconds: float) -> None:
        connect: Any = partial(HttpConnection, limit=limit, head_seconds=head_seconds)  # uvicorn's type hint is a class
        config = uvicorn.Config(
            app,
            http=connect,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=ceil(head_seconds) + 1,  # later than `HttpConnection`'s own timer, which decides
            h11_max_incomplete_event_size=MAX_HEAD_BYTES,
            timeout_graceful_shutdown=2,
        )
        super().__init__(config)
        self._exchanges = app
        self._ended = anyio.Event()

    async def serve_until_finished(self, listener: socket.socket) -> None:
        """Serve until `finish` is called. Shielded, because a cancelled uvicorn leaves its connections open."""
        try:
            with anyio.CancelScope(shield=True):
                await self.serve([listener])
        finally:
            self._ended.set()

    async def finish(self) -> None:
        """Accept no more requests, wait briefly for the last answers, and cut off the rest."""
        self.should_exit = True
        with anyio.move_on_after(DRAIN_SECONDS):
            await self._exchanges.until_idle()
        self._exchanges.end()
        await self._ended.wait()

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        """Install no signal handlers: `lifecycle.serve` handles signals."""
        yield


@contextmanager
def _open_listener(host: str, port: int) -> Generator[socket.socket]:
    """A listening socket. Raises InvalidRequest if the address cannot be used."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, *_, address = min(found)  # prefers IPv4 for a name with both
        listener = socket.create_server(address[:2], family=family, backlog=512)
    except OSError as error:
        raise InvalidRequest(f"Nothing can listen on {host}, port {port}: {error.strerror}. Choose another.") from None
    # Accepted connections inherit this option. Without it, the end of a reply waits 40 ms for a delayed TCP ACK.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with listener:
        yield listener


def _addresses(options: HttpOptions, host: str, port: int) -> str:
    place = f"[{host}]" if ":" in host else host
    return " and ".join(f"http://{place}:{port}{path}" for face in options.faces for path in _SERVED[face])
