"""The server on a port: Streamable HTTP at /mcp, SSE at /sse, for many clients at once.

The web server is uvicorn, with what it leaves open closed here: its signals are ours, connections that ask for
nothing keep nobody out, and its end does not wait for anybody without limit.
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
from moa_mcp.server.sdk_compat import HttpConnection
from moa_mcp.server.transports.http.access import RequestLimits
from moa_mcp.server.transports.http.application import MAX_HEAD_BYTES, Application
from moa_mcp.server.transports.http.connections import ConnectionLimit
from moa_mcp.server.transports.http.options import HttpLimits, HttpOptions
from moa_mcp.server.transports.http.requests import Exchanges
from moa_mcp.server.transports.lifecycle import Finish, Lifetime
from moa_mcp.service.service import Service

logger = logging.getLogger(__name__)

DRAIN_SECONDS = 0.5
"""Seconds that answers are given to be sent once the server is to end."""

_SERVED = {"mcp": ("/mcp",), "sse": ("/sse",)}


class HttpTransport:
    """Listens as the options say. `announce` is told in one line where that is, once it does."""

    def __init__(
        self, options: HttpOptions, announce: Callable[[str], object], limits: HttpLimits | None = None
    ) -> None:
        self._options = options
        self._announce = announce
        self._limits = limits or HttpLimits()

    async def __call__(self, service: Service, lifetime: Lifetime, *, task_status: TaskStatus[Finish]) -> None:
        """Serve until cancelled or finished. Raises InvalidRequest if nothing can listen there."""
        options, limits = self._options, self._limits
        options.check()
        with _listening(options.host, options.port) as listener:
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
    """uvicorn without signals, access log, or what it would tell of itself."""

    def __init__(self, app: Exchanges, limit: ConnectionLimit, head_seconds: float) -> None:
        connect: Any = partial(HttpConnection, limit=limit, head_seconds=head_seconds)  # annotated as a class
        config = uvicorn.Config(
            app,
            http=connect,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=ceil(head_seconds) + 1,  # later than the limit of the connection itself
            h11_max_incomplete_event_size=MAX_HEAD_BYTES,
            timeout_graceful_shutdown=2,
        )
        super().__init__(config)
        self._exchanges = app
        self._ended = anyio.Event()

    async def serve_until_finished(self, listener: socket.socket) -> None:
        """Serve until `finish` is called: uvicorn leaves its connections open if it is cancelled."""
        try:
            with anyio.CancelScope(shield=True):
                await self.serve([listener])
        finally:
            self._ended.set()

    async def finish(self) -> None:
        """Take no more requests, let the last answers go out, and cut off what is left."""
        self.should_exit = True
        with anyio.move_on_after(DRAIN_SECONDS):
            await self._exchanges.until_idle()
        self._exchanges.end()
        await self._ended.wait()

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        """Leave the signals to whoever runs the process."""
        yield


@contextmanager
def _listening(host: str, port: int) -> Generator[socket.socket]:
    """A socket that listens there. Raises InvalidRequest if it cannot."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, *_, address = min(found)  # of a name with both, IPv4
        listener = socket.create_server(address[:2], family=family, backlog=512)
    except OSError as error:
        raise InvalidRequest(f"Nothing can listen on {host}, port {port}: {error.strerror}. Choose another.") from None
    # Connections inherit it. Without it the end of a reply waits 40 ms for the client's delayed acknowledgement.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with listener:
        yield listener


def _addresses(options: HttpOptions, host: str, port: int) -> str:
    place = f"[{host}]" if ":" in host else host
    return " and ".join(f"http://{place}:{port}{path}" for face in options.faces for path in _SERVED[face])
