"""The connections of uvicorn, with a limit on their number and on the time until a request. Only HTTP needs them."""

from __future__ import annotations

from typing import Any, cast

from uvicorn.protocols.http.h11_impl import H11Protocol

from moa_mcp.server.context import OWNER
from moa_mcp.server.transports.http.connections import ConnectionLimit


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
