"""How many connections a port has at once, and which of them is closed when one more comes.

Clients without a token can open connections, but cannot keep others out with them.
"""

from __future__ import annotations

from typing import Protocol


class Connection(Protocol):
    """What the limit needs to know of a connection."""

    @property
    def owner(self) -> str | None:
        """Who made its last request, None if unknown."""
        ...

    @property
    def busy(self) -> bool:
        """Whether a known owner waits for an answer here."""
        ...

    def close(self) -> None:
        """Close it at once."""
        ...


class ConnectionLimit:
    """Keeps at most `maximum` connections open.

    One more closes the oldest of an unknown owner, else the oldest that is not busy. If all are busy the new one stays
    open, to be closed by the next.
    """

    def __init__(self, maximum: int) -> None:
        self._maximum = maximum
        self._open: dict[Connection, None] = {}

    def add(self, connection: Connection) -> None:
        """Count a connection that was opened."""
        if len(self._open) >= self._maximum and (other := self._least_needed()):
            self.discard(other)
            other.close()
        self._open[connection] = None

    def renew(self, connection: Connection) -> None:
        """Count `connection` as the newest."""
        if connection in self._open:
            del self._open[connection]
            self._open[connection] = None

    def discard(self, connection: Connection) -> None:
        """Count `connection` no longer."""
        self._open.pop(connection, None)

    def _least_needed(self) -> Connection | None:
        unknown = (one for one in self._open if one.owner is None)
        idle = (one for one in self._open if not one.busy)
        return next(unknown, None) or next(idle, None)
