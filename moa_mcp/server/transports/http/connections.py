"""Limits the open connections of a port, and chooses which one to close for a new one.

Clients without a token can open connections, but cannot block other clients with them.
"""

from __future__ import annotations

from typing import Protocol


class Connection(Protocol):
    """The interface of a connection for the limit."""

    @property
    def owner(self) -> str | None:
        """The owner of its last request, None if unknown."""
        ...

    @property
    def busy(self) -> bool:
        """Whether a known owner waits for an answer on it."""
        ...

    def close(self) -> None:
        """Close it at once."""
        ...


class ConnectionLimit:
    """Keeps at most `maximum` connections open.

    A new one closes the oldest without a known owner, else the oldest that is not busy. If all are busy, the new one
    is still accepted, and the next one closes it.
    """

    def __init__(self, maximum: int) -> None:
        self._maximum = maximum
        self._open: dict[Connection, None] = {}

    def add(self, connection: Connection) -> None:
        """Add a new connection; close another one if the limit is reached."""
        if len(self._open) >= self._maximum and (other := self._least_needed()):
            self.discard(other)
            other.close()
        self._open[connection] = None

    def renew(self, connection: Connection) -> None:
        """Move `connection` to the newest place."""
        if connection in self._open:
            del self._open[connection]
            self._open[connection] = None

    def discard(self, connection: Connection) -> None:
        """Remove `connection`."""
        self._open.pop(connection, None)

    def _least_needed(self) -> Connection | None:
        unknown = (one for one in self._open if one.owner is None)
        idle = (one for one in self._open if not one.busy)
        return next(unknown, None) or next(idle, None)
