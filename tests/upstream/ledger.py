"""What an upstream has seen: every request and connection, and a way to wait until it has seen enough."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import anyio

from tests.upstream.request import Request


@dataclass(slots=True, eq=False)
class Connection:
    """One accepted connection; times are seconds on a monotonic clock, `closed_at` None while it is open."""

    opened_at: float
    closed_at: float | None = None


class Ledger:
    """Kept by the upstream, read by tests.

    `requests` are in order of arrival. `abandoned` are those whose answer did not run to its end because the
    client left first (or the upstream was closed). `open` is how many connections have a request in flight.
    """

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.abandoned: list[Request] = []
        self.connections: list[Connection] = []
        self.open = 0
        self.peak_in_flight = 0
        self._waiting: list[anyio.Event] = []

    @property
    def accepted(self) -> int:
        """How many connections were accepted so far."""
        return len(self.connections)

    @property
    def closed(self) -> int:
        """How many of them are closed again."""
        return sum(connection.closed_at is not None for connection in self.connections)

    def summary(self, *, bodies: bool = False) -> dict[str, Any]:
        """Say it all in JSON's types; `bodies` adds the body of every request, in order."""
        counts: dict[str, Any] = {
            "requests": len(self.requests),
            "abandoned": len(self.abandoned),
            "accepted": self.accepted,
            "closed": self.closed,
            "open": self.open,
            "peak_in_flight": self.peak_in_flight,
            "per_model": dict(Counter(request.model for request in self.requests)),
        }
        return counts | ({"bodies": [request.body for request in self.requests]} if bodies else {})

    async def until(self, satisfied: Callable[[Ledger], bool]) -> None:
        """Wait until the ledger satisfies; it is asked again after every change."""
        while not satisfied(self):
            changed = anyio.Event()
            self._waiting.append(changed)
            await changed.wait()

    def connected(self) -> Connection:
        """Enter a connection that was just accepted."""
        connection = Connection(time.monotonic())
        self.connections.append(connection)
        self._changed()
        return connection

    def disconnected(self, connection: Connection) -> None:
        """Note that a connection is closed."""
        connection.closed_at = time.monotonic()
        self._changed()

    def forget(self, connection: Connection) -> None:
        """Strike out a connection that only came to read this ledger."""
        if connection in self.connections:
            self.connections.remove(connection)

    def arrived(self, request: Request) -> None:
        """Enter a request that was just read."""
        self.requests.append(request)
        self._changed()

    @contextmanager
    def answering(self, request: Request) -> Generator[None]:
        """Count a request as in flight; leaving by an exception makes it an abandoned one."""
        self.open += 1
        self.peak_in_flight = max(self.peak_in_flight, self.open)
        self._changed()
        try:
            yield
        except BaseException:
            self.abandoned.append(request)
            raise
        finally:
            self.open -= 1
            self._changed()

    def _changed(self) -> None:
        waiting, self._waiting = self._waiting, []
        for event in waiting:
            event.set()
