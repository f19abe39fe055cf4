"""The journal of one run: what it finished is written down as it ends, and told of once it is safe.

What it is about to send is booked in its owner's day before, in the same writes.

How it is stored is the store's; what counts as finished the runner decides.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import replace

import anyio
import anyio.lowlevel

from moa_mcp.domain.errors import MoAError, ProviderError, Reason
from moa_mcp.domain.model import Call, CallRecord
from moa_mcp.domain.spend import Spend
from moa_mcp.providers.base import Booking, Outlay, Provider
from moa_mcp.store.daily_budget import DayReservation

Write = Callable[[Sequence[CallRecord], DayReservation, Spend], Awaitable[DayReservation | None]]
"""Writes records down, and books the hold's `sent` in a hold that grows to so much, all or none; it is safe once it
returns. None: the run is another server's by now."""

OnWritten = Callable[[CallRecord], None]
"""Hears of each record in the order of their ends. Must not block."""


class RunTakenOver(MoAError):
    """The run that the journal is of goes on in another server."""


class StoredJournal:
    """Keeps what a run has finished; and what it is about to send, which is booked before, in the same writes.

    `known` are the records by call id that the run had before it was resumed, `hold` is what is set aside for it of
    its owner's day, which is `exhausted` once it gave less than was asked for. `soon` lets something be done
    without waiting for it.
    """

    def __init__(
        self,
        known: Mapping[str, CallRecord],
        reservation: DayReservation,
        write: Write,
        on_written: OnWritten,
        soon: Callable[[Callable[[], Awaitable[None]]], None],
    ) -> None:
        self.known = known
        self.hold = reservation
        self._write = write
        self._on_written = on_written
        self._soon = soon
        self._turn = anyio.Lock(fast_acquire=True)
        self._pending: list[CallRecord] = []
        self._booking: Booking | None = None
        self._outlay: Outlay | None = None
        self._ours = True
        self.exhausted = False

    def keep_for(self, provider: Provider) -> None:
        """Book what `provider` sends, if it lets that be done."""
        if isinstance(provider, Booking):
            self._booking, self._outlay = provider, provider.book_in(self)

    def announce(self, calls: Iterable[Call]) -> None:
        """Take calls that are about to be sent into what is booked with the next write."""
        if self._booking is not None:
            self._booking.announce(calls)

    @property
    def amount(self) -> Spend:
        """What is set aside for the run by now."""
        return self.hold.amount

    @property
    def sent(self) -> Spend:
        """What is booked as sent."""
        return self.hold.sent

    @property
    def pending(self) -> Sequence[CallRecord]:
        """What has ended and is not safe yet."""
        return tuple(self._pending)

    def add(self, record: CallRecord) -> None:
        """Take a record."""
        self._pending.append(record)

    async def wait_written(self) -> None:
        """Wait until all that was added is written down. Raises TakenOver: the calls to come are another server's."""
        await self.write()
        if not self._ours:
            raise RunTakenOver("Another server went on with this run, because this one was silent for too long.")

    async def book(self) -> None:
        """Wait until all is booked that is about to be sent. Raises ProviderError: it is another server's to send."""
        await anyio.lowlevel.checkpoint()  # whoever is about to send in this same round is taken along
        await self.write()
        if not self._ours:
            raise ProviderError(Reason.BUDGET, "another server goes on with this run")

    def book_soon(self) -> None:
        """Let that be done without waiting for it."""
        self._soon(self.write)

    async def write(self) -> None:
        """Write down all that is pending, and tell of it. What comes in meanwhile goes into the next write, as one.

        Cancelled, it leaves what is not safe to whoever writes next.
        """
        async with self._turn:
            records, reservation, amount = self.pending, self.hold, self.amount
            if self._outlay is not None:
                reservation, amount = replace(reservation, sent=self._outlay.sent), self._outlay.wanted()
            if records or not self.sent.covers(reservation.sent) or not self.amount.covers(amount):
                written = await self._write(records, reservation, amount)
                self._ours = written is not None
                self.hold = written or self.hold
                self.exhausted = not self.hold.amount.covers(amount)
                self._report_written(len(records))

    def close(self) -> None:
        """Tell of what could not be written down in time: it was paid for, safe or not."""
        self._report_written(len(self._pending))
        self._outlay = None

    def _report_written(self, count: int) -> None:
        for record in self._pending[:count]:
            self._on_written(record)
        del self._pending[:count]
