"""The journal of one run: what it finished is written down as it ends, and told of once it is safe.

How it is stored is the store's; what counts as finished the runner decides.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from typing import Any

import anyio

from moa_mcp.errors import MoAError
from moa_mcp.model import CallRecord

Write = Callable[[Sequence[CallRecord]], Awaitable[bool]]
"""Writes records down, all or none; they are safe once it returns. False: the run is another server's by now."""

Tell = Callable[[CallRecord], None]
"""Hears of each record in the order of their ends. Must not block."""

Soon = Callable[[Callable[[], Coroutine[Any, Any, None]]], object]
"""Starts a task that outlives the call it is started in, but not the desk."""


class TakenOver(MoAError):
    """The run that the journal is of goes on in another server."""


class StoredJournal:
    """`known` are the records by call id that the run had before it was resumed."""

    def __init__(self, known: Mapping[str, CallRecord], write: Write, tell: Tell, soon: Soon) -> None:
        self.known = known
        self._write = write
        self._tell = tell
        self._soon = soon
        self._turn = anyio.Lock(fast_acquire=True)
        self._pending: list[CallRecord] = []
        self._ours = True

    @property
    def pending(self) -> Sequence[CallRecord]:
        """What has ended and is not safe yet."""
        return tuple(self._pending)

    def add(self, record: CallRecord, *, at_once: bool) -> None:
        """Take a record; what is added while others are being written goes behind them, all in one write."""
        self._pending.append(record)
        if at_once:
            self._soon(self._write_ahead)

    async def safe(self) -> None:
        """Wait until all that was added is written down. Raises TakenOver: the calls to come are another server's."""
        await self.write()
        if not self._ours:
            raise TakenOver("Another server went on with this run, because this one was silent for too long.")

    async def _write_ahead(self) -> None:
        # A fault here comes again in `safe`, where it is the run's; in a task of the desk's it would end all runs.
        with suppress(Exception):
            await self.write()

    async def write(self) -> None:
        """Write down and tell of all that is pending. Cancelled, it leaves what is not safe for the next time."""
        async with self._turn:
            if records := self.pending:
                self._ours = await self._write(records)
                del self._pending[: len(records)]
                for record in records:
                    self._tell(record)

    def close(self) -> None:
        """Tell of what could not be written down in time: it was paid for, safe or not."""
        while self._pending:
            self._tell(self._pending.pop(0))
