"""A store around a store: what cannot be stored on disk stays in memory, with one warning, so no answer is lost."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from heapq import merge
from itertools import islice
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

import anyio
import anyio.to_thread

from moa_mcp.domain.model import CallRecord, Run
from moa_mcp.domain.spend import Spend
from moa_mcp.domain.stores import STORES, StoreOptions
from moa_mcp.store.base import AdmittedRun, Faults, RunStore
from moa_mcp.store.daily_budget import DayReservation, ReservationRequest, day_of
from moa_mcp.store.memory import MemoryStore
from moa_mcp.store.sqlite.database import FAULTS

logger = logging.getLogger(__name__)

Result = TypeVar("Result")
Work = Callable[[RunStore], Awaitable[Result]]


class FallbackStore:
    """Uses the store that `open_store` opens on `file`, and memory for what that store cannot take.

    `faults` are the errors that mean that the store is out of order. A damaged file is renamed in its folder, and a
    new file is created. A full or read-only disk is tried again with every write.
    """

    def __init__(self, file: Path, open_store: Callable[[], RunStore], faults: Faults = FAULTS) -> None:
        self._file = file
        self._faults = faults
        self._open = open_store
        self._memory = MemoryStore()
        self._booked: dict[tuple[str, int], Spend] = {}
        self._store: RunStore | None = None
        self._opening = anyio.Lock()
        self._warnings: dict[str, bool] = {}
        """Each warning, and whether it is for every owner or only for owners with runs in memory."""
        self._latest_in_memory: set[str] = set()

    async def _get_store(self) -> RunStore:
        """Open the store on first use, so that an unused server creates no file."""
        if self._store is not None:  # without the lock: concurrent writes must arrive together to share a commit
            return self._store
        async with self._opening:
            if self._store is None:
                # In a thread, because it may wait for another server that is creating the file.
                self._store = await anyio.to_thread.run_sync(self._open_or_use_memory)
            return self._store

    def _open_or_use_memory(self) -> RunStore:
        try:
            store = self._open()
            for warning in store.warnings():
                self._add_warning(warning)
            return store
        except self._faults.types as error:
            if self._faults.is_damage(error):
                return self._open_new(error)
            return self._use_memory(f"the store {self._file.name} cannot be opened", error)

    async def admit(self, run: Run, wanted: ReservationRequest, since: float | None = None) -> AdmittedRun | Run:
        found = await self._on_disk(lambda store: store.admit(run, wanted, since))
        found = found or await self._memory.admit(run, self._subtract_booked(wanted), since)
        if isinstance(found, AdmittedRun):
            self._note_latest(run.owner, run.run_id)
        return found

    async def add_records(self, run_id: str, records: Sequence[CallRecord]) -> bool:
        return await self._write(run_id, lambda store: store.add_records(run_id, records))

    async def write_ahead(
        self, run_id: str, records: Sequence[CallRecord], reservation: DayReservation, amount: Spend
    ) -> DayReservation | None:
        return await self._write(run_id, lambda store: store.write_ahead(run_id, records, reservation, amount))

    async def finish(self, run: Run) -> None:
        await self._write(run.run_id, lambda store: store.finish(run))

    async def cancel(self, owner: str, run_id: str) -> None:
        await self._memory.cancel(owner, run_id)
        await self._on_disk(lambda store: store.cancel(owner, run_id))

    async def claim(self, owner: str, run_id: str, wanted: ReservationRequest) -> AdmittedRun | None:
        claimed = await self._on_disk_or_in_memory(lambda store: store.claim(owner, run_id, wanted))
        if claimed is not None:
            self._note_latest(owner, run_id)
        return claimed

    async def get(self, owner: str, run_id: str) -> Run | None:
        return await self._on_disk_or_in_memory(lambda store: store.get(owner, run_id))

    async def find(self, owner: str, key: str, since: float) -> Run | None:
        return await self._on_disk_or_in_memory(lambda store: store.find(owner, key, since))

    async def latest(self, owner: str) -> Run | None:
        in_memory = await self._memory.latest(owner)
        if in_memory is not None and owner in self._latest_in_memory:
            return in_memory
        kept = await self._on_disk(lambda store: store.latest(owner))
        return in_memory if kept is None else await self._memory.get(owner, kept.run_id) or kept

    async def make_latest(self, owner: str, run_id: str) -> None:
        await self._memory.make_latest(owner, run_id)
        if not self._memory.has_run(run_id):
            await self._on_disk(lambda store: store.make_latest(owner, run_id))
        self._note_latest(owner, run_id)

    def _note_latest(self, owner: str, run_id: str) -> None:
        """Remember which of the two stores has the owner's latest run."""
        if self._memory.has_run(run_id):
            self._latest_in_memory.add(owner)
        else:
            self._latest_in_memory.discard(owner)

    async def list(self, owner: str, limit: int = 50) -> Sequence[Run]:
        in_memory = await self._memory.list(owner, limit)
        if await self._get_store() is self._memory:
            return in_memory
        kept = await self._on_disk(lambda store: store.list(owner, limit)) or ()
        on_disk = (run for run in kept if not self._memory.has_run(run.run_id))
        return [*islice(merge(in_memory, on_disk, key=_date, reverse=True), limit)]

    async def count(self, owner: str) -> int:
        count = await self._memory.count(owner)
        if await self._get_store() is not self._memory:
            count += await self._on_disk(lambda store: store.count(owner)) or 0
        return count

    async def remove(self, owner: str, run_id: str) -> bool:
        return bool(await self._on_disk_or_in_memory(lambda store: _found_or_none(store, owner, run_id)))

    async def prune(self) -> int:
        return await self._on_disk(lambda store: store.prune()) or 0

    async def settle(self, reservation: DayReservation, actual: Spend) -> None:
        if self._memory.has_reservation(reservation):
            await self._memory.settle(reservation, actual)
            return
        day = (reservation.owner, reservation.day)
        self._booked[day] = self._booked.get(day, Spend()) + actual
        await self._on_disk(lambda store: store.settle(reservation, actual))

    def _subtract_booked(self, wanted: ReservationRequest) -> ReservationRequest:
        """Lower the cap for memory by what this server booked on disk: it is spent, even if the disk cannot be read."""
        booked = self._booked.get((wanted.owner, day_of(time.time())), Spend())
        return replace(wanted, cap=wanted.cap and wanted.cap.beyond(booked))

    async def spent(self, owner: str) -> Spend:
        spent = await self._memory.spent(owner)
        if await self._get_store() is self._memory:
            return spent
        return spent + (await self._on_disk(lambda store: store.spent(owner)) or Spend())

    async def heartbeat(self) -> None:
        await self._on_disk(lambda store: store.heartbeat())

    async def aclose(self) -> None:
        if self._store is not None:
            await self._store.aclose()

    def warnings(self, owner: str | None = None) -> Sequence[str]:
        in_memory = owner is None or self._memory.has_runs_of(owner)
        return [warning for warning, for_everybody in self._warnings.items() if for_everybody or in_memory]

    async def _write(self, run_id: str, work: Work[Result]) -> Result:
        if not self._memory.has_run(run_id) and (done := await self._on_disk(_wrap_in_tuple(work))):
            return done[0]
        return await work(self._memory)

    async def _on_disk_or_in_memory(self, work: Work[Result | None]) -> Result | None:
        found = await work(self._memory)
        if found is not None or await self._get_store() is self._memory:
            return found
        return await self._on_disk(work)

    async def _on_disk(self, work: Work[Result]) -> Result | None:
        store = await self._get_store()
        try:
            return await work(store)
        except self._faults.types as error:
            if self._faults.is_damage(error):
                await self._replace(store, error)
            else:
                self._use_memory(f"the store {self._file.name} cannot be used", error, for_everybody=False)
            return None

    async def _replace(self, damaged: RunStore, error: Exception) -> None:
        """Open a new store, unless another task that found the same damage has already done it."""
        async with self._opening:
            if self._store is damaged:
                self._store = None  # tasks that come now wait for the lock, and so for the new store
                await damaged.aclose()
                self._store = await anyio.to_thread.run_sync(self._open_new, error)

    def _open_new(self, damage: Exception) -> RunStore:
        """Rename the damaged file and open a new one; use memory if that fails."""
        try:
            aside = _set_aside(self._file)
            self._add_warning(
                f"The store was damaged ({damage}); it was set aside as {aside.name} and a new one was created."
            )
            return self._open()
        except self._faults.types as error:
            return self._use_memory("no new store could be created", error)

    def _use_memory(self, why: str, error: Exception, *, for_everybody: bool = True) -> MemoryStore:
        self._add_warning(f"Runs are kept in memory only: {why} ({_error_text(error)}).", for_everybody=for_everybody)
        return self._memory

    def _add_warning(self, warning: str, *, for_everybody: bool = True) -> None:
        if warning not in self._warnings:
            logger.warning(warning)
            self._warnings[warning] = for_everybody


def _wrap_in_tuple(work: Work[Result]) -> Work[tuple[Result]]:
    """Return `work` with its result in a tuple, so that a result of None differs from a failed disk."""

    async def wrapped(store: RunStore) -> tuple[Result]:
        return (await work(store),)

    return wrapped


async def _found_or_none(store: RunStore, owner: str, run_id: str) -> bool | None:
    return await store.remove(owner, run_id) or None


def _date(run: Run) -> float:
    """Return when a run started, for sorting; 0.0 for a date in the future, which comes from a wrong clock."""
    return run.created_at if run.created_at <= time.time() else 0.0


def _error_text(error: Exception) -> str:
    """Return the error text without the path of the file, because clients see it and must not learn the path."""
    return (error.strerror if isinstance(error, OSError) else str(error)) or type(error).__name__


def _set_aside(file: Path) -> Path:
    """Rename a damaged file to `<name>.corrupt-<number>`, and return the new path."""
    number = 1
    while (aside := file.with_name(f"{file.name}.corrupt-{number}")).exists():
        number += 1
    file.rename(aside)
    journal = file.with_name(f"{file.name}-journal")
    journal.unlink(missing_ok=True)
    return aside


def open_sqlite_or_memory(options: StoreOptions) -> FallbackStore:
    """Open the SQLite file of the URL (`sqlite:///path`), or runs.db; memory for what the file cannot take."""
    file = Path(urlsplit(options.url).path or options.folder / "runs.db")

    def open_sqlite() -> RunStore:
        # Imported here, so that a server that only lists its tools does not load SQLite.
        from moa_mcp.store.sqlite.store import SqliteStore

        return SqliteStore(file, keep_days=options.keep_days, max_mb=options.max_mb)

    return FallbackStore(file, open_sqlite)


STORES.add("sqlite", open_sqlite_or_memory)
