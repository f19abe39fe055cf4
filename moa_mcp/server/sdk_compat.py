"""The private parts of mcp and uvicorn that the server uses: all of them, and nothing else.

Tried with mcp 2.3.0 and with uvicorn 0.31.1, 0.35.0, 0.40.0, 0.46.0 and 0.54.0 on h11 0.16.0. Neither package
promises to keep these parts, so pyproject.toml has a ceiling for both, tests/server/test_sdk_compat.py looks whether
they are still there, and tests/architecture.py keeps them out of every other module. Each is here because there is no
public way:

- `ServerSession._connection`: to learn that a client is gone.
- `StreamableHTTPSessionManager._server_instances`, `._session_owners`: to count the sessions of one owner.
- `uvicorn.protocols.http.h11_impl`: to limit how long and how many connections wait for a request. uvicorn ends
  a connection that is idle, but not one that sends a byte now and then.
"""

from __future__ import annotations

from math import inf
from typing import Any, cast

from mcp.server.connection import Connection
from mcp.server.session import ServerSession
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from uvicorn.protocols.http.h11_impl import H11Protocol

from moa_mcp.server.context import OWNER
from moa_mcp.server.transports.http.connections import ConnectionLimit


def connection_of(session: ServerSession) -> Connection:
    """The connection to the client of a session; its `exit_stack` is closed when the client is gone."""
    return session._connection  # pyright: ignore[reportPrivateUsage]


def end_idle_sessions(manager: StreamableHTTPSessionManager, owner: str, keep: int) -> bool:
    """End the sessions of `owner` that are idle longest, until `keep` are left; False if too many are in use.

    A session is in use while one of its requests is served or its stream is open.
    """
    sessions = manager._server_instances.items()  # pyright: ignore[reportPrivateUsage]
    owners = manager._session_owners  # pyright: ignore[reportPrivateUsage]
    own = [transport.idle_scope for session, transport in sessions if owners[session]["client_id"] == owner]
    going_on = [scope for scope in own if scope is None or not scope.cancel_called]
    idle = sorted((scope for scope in going_on if scope and scope.deadline < inf), key=lambda scope: scope.deadline)
    too_many = max(0, len(going_on) - keep)
    for scope in idle[:too_many]:
        scope.cancel()
    return len(idle) >= too_many


class HttpConnection(H11Protocol):
    """An HTTP connection that is closed if no request comes over it in time, or when `limit` needs room.

    From its opening, and again from the end of each response, it has `head_seconds` for a request of a known owner,
    or for a request and its answer. The owner is what the application writes into the scope.
    """

    def __init__(self, *args: Any, limit: ConnectionLimit, head_seconds: float, **named: Any) -> None:
        super().__init__(*args, **named)
        self._limit = limit
        self._head_seconds = head_seconds

    @property
    def owner(self) -> str | None:
        """Who made the last request, None if unknown."""
        scope: dict[str, Any] | None = cast("Any", self.scope)  # None before the first request
        return scope.get(OWNER) if scope else None

    @property
    def busy(self) -> bool:
        """Whether a known owner waits for an answer to a whole request, or has not taken all of it."""
        if self.owner is None:
            return False
        answering = not (self.cycle.more_body or self.cycle.response_complete)
        return answering or self.transport.get_write_buffer_size() > 0

    def close(self) -> None:
        """Close at once, whatever is not sent yet."""
        self.transport.abort()

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._timer = self.loop.call_later(self._head_seconds, self._on_timeout)
        self._limit.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._timer.cancel()
        self._limit.discard(self)
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        self._timer.cancel()
        self._timer = self.loop.call_later(self._head_seconds, self._on_timeout)
        self._limit.renew(self)
        super().on_response_complete()

    def _on_timeout(self) -> None:
        # A request that was let in has limits of its own: for its body, and for what it asks.
        if self.owner is None or self.cycle.response_complete:
            self.close()
