"""The server on a port: Streamable HTTP at /mcp, SSE at /sse, for many clients at once.

The web server is uvicorn, with what it leaves open closed here: its signals are ours, a connection that asks for
nothing is not kept, and its end does not wait for anybody without limit.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import anyio
import uvicorn
from anyio.abc import TaskStatus
from uvicorn.protocols.http.h11_impl import H11Protocol

from moa_mcp.errors import InvalidRequest
from moa_mcp.server.transports.application import LARGEST_HEAD, Application
from moa_mcp.server.transports.exchange import Exchanges
from moa_mcp.server.transports.life import Finish, Life
from moa_mcp.server.transports.options import HttpOptions
from moa_mcp.service.service import Service

logger = logging.getLogger(__name__)

SLOWEST_HEAD = 30.0
"""Seconds that a new connection has for its first request."""

LAST_ANSWERS = 0.5
"""Seconds that answers are given to be sent once the server is to end."""

_SERVED = {"mcp": ("/mcp",), "sse": ("/sse",)}


class HttpTransport:
    """Listens as the options say. `announce` is told in one line where that is, once it does."""

    def __init__(self, options: HttpOptions, announce: Callable[[str], object]) -> None:
        self._options = options
        self._announce = announce

    async def __call__(self, service: Service, life: Life, *, task_status: TaskStatus[Finish]) -> None:
        """Serve until cancelled or finished. Raises InvalidRequest if nothing can listen there."""
        options = self._options
        options.check()
        with _listening(options.host, options.port) as listener:
            host, port = listener.getsockname()[:2]
            async with Application.opened(service, options) as application:
                web = _Web(Exchanges(application, application.admits), options.most_connections)
                service.registry.listening = ((host, port),)
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(web.serve_to_the_end, listener)
                    try:
                        self._announce(f"moa-mcp: listening at {_addresses(options, host, port)}")
                        task_status.started(web.finish)
                        await anyio.sleep_forever()
                    finally:
                        with anyio.CancelScope(shield=True):
                            await web.finish()


class _Connection(H11Protocol):
    """A connection that is closed if no request comes over it."""

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._patience = self.loop.call_later(SLOWEST_HEAD, self._give_up)

    def connection_lost(self, exc: Exception | None) -> None:
        self._patience.cancel()
        super().connection_lost(exc)

    def _give_up(self) -> None:
        if getattr(self, "cycle", None) is None:  # uvicorn's annotation leaves out that it may be None
            self.transport.close()


class _Web(uvicorn.Server):
    """uvicorn without signals, access log, or what it would tell of itself."""

    def __init__(self, app: Exchanges, most_connections: int) -> None:
        config = uvicorn.Config(
            app,
            http=_Connection,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            limit_concurrency=most_connections + 1,  # from so many on it refuses, the one that asks included
            h11_max_incomplete_event_size=LARGEST_HEAD,
            timeout_graceful_shutdown=2,
        )
        super().__init__(config)
        self._exchanges = app
        self._ended = anyio.Event()

    async def serve_to_the_end(self, listener: socket.socket) -> None:
        """Serve until `finish` is called: uvicorn leaves its connections open if it is cancelled."""
        try:
            with anyio.CancelScope(shield=True):
                await self.serve([listener])
        finally:
            self._ended.set()

    async def finish(self) -> None:
        """Take no more requests, let the last answers go out, and cut off what is left."""
        self.should_exit = True
        with anyio.move_on_after(LAST_ANSWERS):
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
