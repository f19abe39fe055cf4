"""Runs in memory: lost at the end of the process, and bounded; the oldest are removed first."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from uuid import uuid4

from moa_mcp.domain.model import CallRecord, Run
from moa_mcp.domain.spend import Spend
from moa_mcp.domain.stores import STORES
from moa_mcp.store.base import CANCELLED, REUSABLE, AdmittedRun, dates_since
from moa_mcp.store.daily_budget import DayReservation, ReservationRequest, day_of, enlarged, grant


class MemoryStore:
    """Keeps the newest `max_runs` runs of all owners together."""

    def __init__(self, max_runs: int = 200, clock: Callable[[], float] = time.time) -> None:
        self._max_runs = max_runs
        self._clock = clock
        self._runs: dict[str, Run] = {}
        self._given: dict[str, str] = {}
        self._days: dict[tuple[str, int], Spend] = {}
        self._reservations: dict[str, DayReservation] = {}
        self._reserved: dict[tuple[str, int], Spend] = {}

    def has_run(self, run_id: str) -> bool:
        """Return whether the store has a run with that id, for any owner."""
        return run_id in self._runs

    def has_runs_of(self, owner: str) -> bool:
        """Return whether the store has any run of the owner."""
        return any(run.owner == owner for run in self._runs.values())

    def has_reservation(self, reservation: DayReservation) -> bool:
        """Return whether the reservation was made in this store and is not settled yet."""
        return reservation.id in self._reservations

    async def admit(self, run: Run, wanted: ReservationRequest, since: float | None = None) -> AdmittedRun | Run:
        before = None if since is None else await self.find(run.owner, run.key, since)
        if before is not None:
            return before
        admitted = AdmittedRun(run, self._reserve(wanted))
        self._runs[run.run_id] = run
        self._given.pop(run.owner, None)
        await self.prune()
        return admitted

    async def add_records(self, run_id: str, records: Sequence[CallRecord]) -> bool:
        if run := self._runs.get(run_id):
            by_id = {record.call.id: record for record in (*run.calls, *run.panels, *records)}
            self._runs[run_id] = replace(run, calls=(), panels=()).with_records(by_id.values())
        return True

    async def write_ahead(
        self, run_id: str, records: Sequence[CallRecord], reservation: DayReservation, amount: Spend
    ) -> DayReservation | None:
        await self.add_records(run_id, records)
        if (held := self._reservations.get(reservation.id)) is None:
            return reservation
        grown = held.amount
        if not grown.covers(amount):
            place = (held.owner, held.day)
            reserved = self._reserved.get(place, Spend()).beyond(grown)
            grown = enlarged(held, amount, self._days.get(place, Spend()), reserved)
            self._reserved[place] = reserved + grown
        self._reservations[reservation.id] = held = replace(held, amount=grown, sent=reservation.sent)
        return held

    async def finish(self, run: Run) -> None:
        known = self._runs.get(run.run_id, run)
        self._runs[run.run_id] = replace(run, calls=known.calls, panels=known.panels)

    async def cancel(self, owner: str, run_id: str) -> None:
        run = await self.get(owner, run_id)
        if run is not None and run.status == "interrupted":
            self._runs[run_id] = replace(run, status="cancelled", error=CANCELLED)

    async def claim(self, owner: str, run_id: str, wanted: ReservationRequest) -> AdmittedRun | None:
        run = await self.get(owner, run_id)
        if run is None or run.status != "interrupted":
            return None
        claimed = AdmittedRun(replace(run, status="running", error=None), self._reserve(wanted))
        self._runs[run_id] = claimed.run
        self._given[owner] = run_id
        return claimed

    async def get(self, owner: str, run_id: str) -> Run | None:
        run = self._runs.get(run_id)
        return run if run and run.owner == owner else None

    async def find(self, owner: str, key: str, since: float) -> Run | None:
        own = await self.list(owner, limit=self._max_runs)
        earliest, last = dates_since(since, self._clock())
        newest = next((run for run in own if run.key == key and earliest <= run.created_at <= last), None)
        return newest if newest and newest.status in REUSABLE else None

    async def latest(self, owner: str) -> Run | None:
        given = await self.get(owner, self._given.get(owner, ""))
        return given or next(iter(await self.list(owner, limit=1)), None)

    async def make_latest(self, owner: str, run_id: str) -> None:
        if await self.get(owner, run_id):
            self._given[owner] = run_id

    async def list(self, owner: str, limit: int = 50) -> Sequence[Run]:
        own = [run for run in self._runs.values() if run.owner == owner]
        return own[::-1][:limit]

    async def count(self, owner: str) -> int:
        return sum(run.owner == owner for run in self._runs.values())

    async def remove(self, owner: str, run_id: str) -> bool:
        if await self.get(owner, run_id) is None:
            return False
        del self._runs[run_id]
        return True

    async def prune(self) -> int:
        ended = [run_id for run_id, run in self._runs.items() if run.status != "running"]
        oldest = ended[: max(0, len(self._runs) - self._max_runs)]
        for run_id in oldest:
            del self._runs[run_id]
        return len(oldest)

    async def settle(self, reservation: DayReservation, actual: Spend) -> None:
        if held := self._reservations.pop(reservation.id, None):
            place = (held.owner, held.day)
            self._days[place] = self._days.get(place, Spend()) + actual
            self._reserved[place] = self._reserved.get(place, Spend()).beyond(held.amount)

    async def spent(self, owner: str) -> Spend:
        return self._days.get((owner, day_of(self._clock())), Spend())

    async def heartbeat(self) -> None:
        """Do nothing: no other server uses this store."""

    async def aclose(self) -> None:
        """Do nothing: there is nothing to close."""

    def warnings(self, owner: str | None = None) -> Sequence[str]:
        return ()

    def _reserve(self, wanted: ReservationRequest) -> DayReservation:
        today = day_of(self._clock())
        for kept in (self._days, self._reserved):
            for past in [place for place in kept if place[1] < today - 1]:
                del kept[past]
        place = (wanted.owner, today)
        reserved = self._reserved.get(place, Spend())
        amount = grant(wanted, self._days.get(place, Spend()), reserved)
        self._reserved[place] = reserved + amount
        reservation = DayReservation(uuid4().hex, wanted.owner, today, amount, wanted.cap, wanted.first)
        self._reservations[reservation.id] = reservation
        return reservation


STORES.add("memory", lambda options: MemoryStore())
