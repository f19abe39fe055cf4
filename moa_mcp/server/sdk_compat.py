"""All uses of private parts of mcp and uvicorn.

Tested with mcp 2.3.0 and with uvicorn 0.31.1, 0.35.0, 0.40.0, 0.46.0 and 0.54.0 on h11 0.16.0. Neither package
promises to keep these parts, so pyproject.toml has an upper version bound for both, tests/server/test_sdk_compat.py
checks that they still exist, and tests/architecture.py forbids them in every other module. Each is here because there
is no public way:

- `ServerSession._connection`: to detect that a client has disconnected.
- `StreamableHTTPSessionManager._server_instances`, `._session_owners`: to count the sessions of one owner.
- `uvicorn.protocols.http.h11_impl`: to limit the number of connections that wait for a request, and their time.
  uvicorn closes an idle connection, but not one that sends a byte now and then.
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
    """The connection of a session. Its `exit_stack` is closed when the client disconnects."""
    return session._connection  # pyright: ignore[reportPrivateUsage]


def end_idle_sessions(manager: StreamableHTTPSessionManager, owner: str, keep: int) -> bool:
    """End the longest-idle sessions of `owner` until `keep` are left. False if too many are in use.

    A session is in use while it serves a request or its stream is open.
    """
    sessions = manager._server_instances.items()  # pyright: ignore[reportPrivateUsage]
    owners = manager._session_owners  # pyright: ignore[reportPrivateUsage]
    own = [transport.idle_scope for session, transport in sessions if owners[session]["client_id"] == owner]
    active = [scope for scope in own if scope is None or not scope.cancel_called]
    idle = sorted((scope for scope in active if scope and scope.deadline < inf), key=lambda scope: scope.deadline)
    too_many = max(0, len(active) - keep)
    for scope in idle[:too_many]:
        scope.cancel()
    return len(idle) >= too_many


class HttpConnection(H11Protocol):
    """An HTTP connection that is closed if no request arrives in time, or when `limit` needs its place.

    It has `head_seconds`, from its opening and again from the end of each response, until a request of a known owner
    has arrived, or a request without one has been answered. The application writes the owner into the scope.
    """

    def __init__(self, *args: Any, limit: ConnectionLimit, head_seconds: float, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._limit = limit
        self._head_seconds = head_seconds

    @property
    def owner(self) -> str | None:
        """The owner of the last request, None if unknown."""
        scope: dict[str, Any] | None = cast("Any", self.scope)  # None before the first request
        return scope.get(OWNER) if scope else None

    @property
    def busy(self) -> bool:
        """Whether a known owner has sent a complete request and has not yet received the whole answer."""
        if self.owner is None:
            return False
        answering = not (self.cycle.more_body or self.cycle.response_complete)
        return answering or self.transport.get_write_buffer_size() > 0

    def close(self) -> None:
        """Close at once and drop unsent data."""
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
        # An accepted request has other limits, on its body and its run, so this timer must not close it.
        if self.owner is None or self.cycle.response_complete:
            self.close()
