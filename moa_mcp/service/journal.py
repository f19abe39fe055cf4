"""The journal of one run: what it finished is written down as it ends, and told of once it is safe.

How it is stored is the store's; what counts as finished the runner decides.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence

import anyio

from moa_mcp.errors import MoAError
from moa_mcp.model import CallRecord

Write = Callable[[Sequence[CallRecord]], Awaitable[bool]]
"""Writes records down, all or none; they are safe once it returns. False: the run is another server's by now."""

Tell = Callable[[CallRecord], None]
"""Hears of each record in the order of their ends. Must not block."""


class TakenOver(MoAError):
    """The run that the journal is of goes on in another server."""


class StoredJournal:
    """`known` are the records by call id that the run had before it was resumed."""

    def __init__(self, known: Mapping[str, CallRecord], write: Write, tell: Tell) -> None:
        self.known = known
        self._write = write
        self._tell = tell
        self._turn = anyio.Lock(fast_acquire=True)
        self._pending: list[CallRecord] = []
        self._ours = True

    @property
    def pending(self) -> Sequence[CallRecord]:
        """What has ended and is not safe yet."""
        return tuple(self._pending)

    def add(self, record: CallRecord) -> None:
        """Take a record."""
        self._pending.append(record)

    async def safe(self) -> None:
        """Wait until all that was added is written down. Raises TakenOver: the calls to come are another server's."""
        await self.write()
        if not self._ours:
            raise TakenOver("Another server went on with this run, because this one was silent for too long.")

    async def write(self) -> None:
        """Write down all that is pending, and tell of it. What comes in meanwhile goes into the next write, as one.

        Cancelled, it leaves what is not safe to whoever writes next.
        """
        async with self._turn:
            if records := self.pending:
                self._ours = await self._write(records)
                self._tell_of(len(records))

    def close(self) -> None:
        """Tell of what could not be written down in time: it was paid for, safe or not."""
        self._tell_of(len(self._pending))

    def _tell_of(self, count: int) -> None:
        for record in self._pending[:count]:
            self._tell(record)
        del self._pending[:count]
