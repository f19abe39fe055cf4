"""The journal of one run: it stores each finished call, and reports the call after it is stored.

The same writes also book the calls that the run is about to send in the daily budget of its owner.

The store decides how records are stored; the runner decides which calls count as finished.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import replace

import anyio
import anyio.lowlevel

from moa_mcp.domain.errors import MoAError, ProviderError, Reason
from moa_mcp.domain.model import Call, CallRecord
from moa_mcp.domain.spend import Spend
from moa_mcp.providers.base import Booking, Provider
from moa_mcp.providers.budget import Outlay
from moa_mcp.store.daily_budget import DayReservation

Write = Callable[[Sequence[CallRecord], DayReservation, Spend], Awaitable[DayReservation | None]]
"""Stores records, books the reservation's `sent`, and lets the reservation grow to the given amount: all or nothing.

The data is safe once it returns. It returns None if another server has taken over the run."""

OnWritten = Callable[[CallRecord], None]
"""Called with each stored record, in the order in which the calls ended. Must not block."""


class RunTakenOver(MoAError):
    """Another server has taken over the run of this journal."""


class StoredJournal:
    """Stores finished calls, and books calls before they are sent, in the same writes.

    `known` has the records from before the run was resumed, by call id. `hold` is the run's reservation in the daily
    budget of its owner. `exhausted` is set while the day has less room than the run asks for. `soon` starts work
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
        """Book what `provider` sends, if `provider` supports booking."""
        if isinstance(provider, Booking):
            self._booking, self._outlay = provider, provider.book_in(self)

    def announce(self, calls: Iterable[Call]) -> None:
        """Book these calls, which are about to be sent, with the next write."""
        if self._booking is not None:
            self._booking.announce(calls)

    @property
    def amount(self) -> Spend:
        """The amount that is reserved for the run now."""
        return self.hold.amount

    @property
    def sent(self) -> Spend:
        """The amount that is booked as sent."""
        return self.hold.sent

    @property
    def pending(self) -> Sequence[CallRecord]:
        """The records that are not stored yet."""
        return tuple(self._pending)

    def add(self, record: CallRecord) -> None:
        """Add a record to be stored with the next write."""
        self._pending.append(record)

    async def wait_written(self) -> None:
        """Wait until all added records are stored. Raises RunTakenOver if another server has taken over the run."""
        await self.write()
        if not self._ours:
            raise RunTakenOver("Another server went on with this run, because this one was silent for too long.")

    async def book(self) -> None:
        """Wait until all announced calls are booked. Raises ProviderError if another server has taken over the run."""
        await anyio.lowlevel.checkpoint()  # calls of the same event loop round join this write
        await self.write()
        if not self._ours:
            raise ProviderError(Reason.BUDGET, "another server goes on with this run")

    def book_soon(self) -> None:
        """Start a write that books the calls, without waiting for it."""
        self._soon(self.write)

    async def write(self) -> None:
        """Store all pending records and report them. Records that arrive meanwhile go together into the next write.

        If this is cancelled, the records stay pending, and the next write stores them.
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
        """Report the records that were not stored in time: they were paid for all the same."""
        self._report_written(len(self._pending))
        self._outlay = None

    def _report_written(self, count: int) -> None:
        for record in self._pending[:count]:
            self._on_written(record)
        del self._pending[:count]
