"""Runs in an SQLite file that several servers on one machine share."""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from uuid import uuid4

import anyio

from moa_mcp.domain.model import CallRecord, Run
from moa_mcp.domain.spend import Spend
from moa_mcp.domain.text import fix_surrogates
from moa_mcp.store.base import CANCELLED, GOES_ON, REUSABLE, AdmittedRun, dates_since
from moa_mcp.store.codec import decode_record, decode_run, encode_record, encode_run
from moa_mcp.store.daily_budget import DayReservation, ReservationRequest, day_of
from moa_mcp.store.sqlite import backup, daily_usage
from moa_mcp.store.sqlite.database import Database
from moa_mcp.store.sqlite.liveness import Server

logger = logging.getLogger(__name__)

_SERVER_GONE = f"The server that ran it is gone. {GOES_ON}"
_COLUMNS = "run_id, status, body, server"
_ADD_IF_OURS = (
    "INSERT OR REPLACE INTO records (run_id, call_id, body)"
    " SELECT run_id, ?, ? FROM runs WHERE run_id = ? AND server = ?"
)
_NEWEST = "SELECT max(rowid) FROM runs WHERE owner = ?1"
_GIVEN = f"SELECT run_id FROM given WHERE owner = ?1 AND newest = ({_NEWEST})"
_LATEST = f"{_GIVEN} UNION ALL SELECT run_id FROM runs WHERE rowid = ({_NEWEST}) LIMIT 1"
_MAKE_LATEST = (
    "INSERT OR REPLACE INTO given (owner, run_id, newest)"
    f" SELECT owner, run_id, ({_NEWEST}) FROM runs WHERE owner = ?1 AND run_id = ?2"
)
_TOO_OLD = "SELECT run_id FROM runs WHERE status != 'running' AND created_at < ? ORDER BY created_at LIMIT 100"
_AHEAD_AND_TOO_OLD = (
    "SELECT run_id FROM runs WHERE status != 'running' AND created_at > ?"
    " AND rowid < (SELECT max(rowid) FROM runs WHERE status != 'running' AND created_at < ?)"
)
"""Runs with a future date, from a wrong clock. They are too old if a run that was admitted after them is too old."""

_OLDEST = "SELECT run_id FROM runs NOT INDEXED WHERE status != 'running' ORDER BY rowid LIMIT 1"
_KEEP_SERVER_SECONDS = 86_400.0
_VACUUM_PAGES = 256

FORGETTING_SECONDS = 0.02
"""How long one transaction deletes runs, without the commit."""

PAUSE_SECONDS = 0.12
"""Pause between two transactions of a pruning.

It is longer than 0.1 seconds, the longest time after which a server that waits for SQLite's lock tries again.
"""


class SqliteStore:
    """Keeps runs in `file` for `keep_days`, up to `max_mb` megabytes.

    The constructor and all methods can raise `DamagedDatabase`, `NewerSchema`, sqlite3.Error and OSError.
    `FallbackStore` catches these and uses memory instead.
    """

    def __init__(
        self, file: Path, *, keep_days: float = 30, max_mb: float = 200, clock: Callable[[], float] = time.time
    ) -> None:
        self._database = Database(file)
        self._keep_seconds = keep_days * 86_400
        self._max_bytes = max_mb * 1024 * 1024
        self._clock = clock
        self._server = uuid4().hex

    async def admit(self, run: Run, wanted: ReservationRequest, since: float | None = None) -> AdmittedRun | Run:
        def start(db: sqlite3.Connection) -> AdmittedRun | Run:
            before = None if since is None else self._find(db, run.owner, run.key, since)
            if before is not None:
                return before
            self._heartbeat(db)
            admitted = AdmittedRun(run, self._reserve(db, wanted))
            row = (run.run_id, run.owner, run.status, run.key, run.created_at, self._server, encode_run(run))
            db.execute(
                "INSERT INTO runs (run_id, owner, status, key, created_at, server, body) VALUES (?, ?, ?, ?, ?, ?, ?)",
                row,
            )
            return admitted

        return await self._database.write(start)

    async def add_records(self, run_id: str, records: Sequence[CallRecord]) -> bool:
        return await self._database.write(self._make_adder(run_id, records))

    async def write_ahead(
        self, run_id: str, records: Sequence[CallRecord], reservation: DayReservation, amount: Spend
    ) -> DayReservation | None:
        add = self._make_adder(run_id, records)
        return await self._database.write(lambda db: daily_usage.book(db, reservation, amount) if add(db) else None)

    def _make_adder(self, run_id: str, records: Sequence[CallRecord]) -> Callable[[sqlite3.Connection], bool]:
        """Return a function that adds records to the run's journal.

        It returns False, and adds nothing, if the run belongs to another server.
        """
        rows = [(record.call.id, encode_record(record), run_id, self._server) for record in records]

        def add(db: sqlite3.Connection) -> bool:
            if rows and db.executemany(_ADD_IF_OURS, rows).rowcount == len(rows):
                return True
            holder = db.execute("SELECT server FROM runs WHERE run_id = ?", (run_id,)).fetchone()
            # No holder: the run was deleted, or its file was damaged. Nothing is stored, and the run continues.
            return holder is None or holder == (self._server,)

        return add

    async def finish(self, run: Run) -> None:
        row = (run.status, encode_run(run), run.run_id, self._server)
        await self._database.write(
            lambda db: db.execute("UPDATE runs SET status = ?, body = ? WHERE run_id = ? AND server = ?", row)
        )

    async def cancel(self, owner: str, run_id: str) -> None:
        def end(db: sqlite3.Connection) -> None:
            run = self._read(db, "owner = ? AND run_id = ?", (owner, run_id))
            if run is not None and run.status == "interrupted":
                row = (encode_run(replace(run, status="cancelled", error=CANCELLED)), run_id)
                db.execute("UPDATE runs SET status = 'cancelled', body = ? WHERE run_id = ?", row)

        await self._database.write(end)

    async def claim(self, owner: str, run_id: str, wanted: ReservationRequest) -> AdmittedRun | None:
        def take(db: sqlite3.Connection) -> AdmittedRun | None:
            self._heartbeat(db)
            run = self._read(db, "owner = ? AND run_id = ?", (owner, run_id))
            if run is None or run.status != "interrupted":
                return None
            db.execute("UPDATE runs SET server = ?, status = 'running' WHERE run_id = ?", (self._server, run_id))
            self._make_latest(db, owner, run_id)
            return AdmittedRun(replace(run, status="running", error=None), self._reserve(db, wanted))

        return await self._database.write(take)

    async def get(self, owner: str, run_id: str) -> Run | None:
        return await self._database.run(lambda db: self._read(db, "owner = ? AND run_id = ?", (owner, run_id)))

    async def find(self, owner: str, key: str, since: float) -> Run | None:
        return await self._database.run(lambda db: self._find(db, owner, key, since))

    async def latest(self, owner: str) -> Run | None:
        given = f"owner = ?1 AND run_id = ({_GIVEN})"
        return await self._database.run(
            lambda db: self._read(db, given, (owner,)) or self._read(db, "owner = ?", (owner,))
        )

    async def make_latest(self, owner: str, run_id: str) -> None:
        await self._database.write(lambda db: self._make_latest(db, owner, run_id))

    async def list(self, owner: str, limit: int = 50) -> Sequence[Run]:
        return await self._database.run(lambda db: self._select(db, "owner = ?", (owner,), limit))

    async def count(self, owner: str) -> int:
        query = "SELECT count(*) FROM runs WHERE owner = ?"
        return await self._database.run(lambda db: int(db.execute(query, (owner,)).fetchone()[0]))

    async def remove(self, owner: str, run_id: str) -> bool:
        def delete(db: sqlite3.Connection) -> bool:
            daily_usage.settle_expired(db, owner, self._clock(), self._server, self._is_alive)
            row = (owner, fix_surrogates(run_id))
            if not db.execute("DELETE FROM runs WHERE owner = ? AND run_id = ?", row).rowcount:
                return False
            backup.forget(self._database.file, [run_id])
            return True

        return await self._database.write(delete, erases=True)

    async def prune(self) -> int:
        deleted = await self._repeat(self._delete_some, erases=True)
        if deleted:
            await self._repeat(_vacuum_pages, erases=False)
        return deleted

    async def _repeat(self, work: Callable[[sqlite3.Connection], tuple[int, bool]], *, erases: bool) -> int:
        """Repeat `work`, which returns how much it did and whether it is finished. Return the sum of what it did.

        Each step is a short transaction with a pause after it, so that other writers do not wait long.
        """
        total = 0
        while True:
            done, is_all = await self._database.write(work, erases=erases)
            total += done
            if is_all:
                return total
            await anyio.sleep(PAUSE_SECONDS)

    def _delete_some(self, db: sqlite3.Connection) -> tuple[int, bool]:
        """Delete runs for a short time. Return how many were deleted, and whether that was all."""
        self._mark_orphans_interrupted(db)
        daily_usage.settle_all_expired(db, self._clock(), self._server, self._is_alive)
        db.execute("DELETE FROM servers WHERE heard < ?", (self._clock() - _KEEP_SERVER_SECONDS,))
        end, deleted_ids, is_all = time.monotonic() + FORGETTING_SECONDS, list[str](), True
        for run_id in self._runs_to_delete(db):
            db.execute("DELETE FROM runs WHERE run_id = ?", (run_id,))
            deleted_ids.append(run_id)
            if time.monotonic() >= end:
                is_all = False
                break
        backup.forget(self._database.file, deleted_ids)
        return len(deleted_ids), is_all

    def _runs_to_delete(self, db: sqlite3.Connection) -> Iterator[str]:
        """Yield runs that are too old, then the oldest runs while the store is too large.

        The caller must delete each run before it takes the next, because the queries are repeated.
        """
        too_old = self._clock() - self._keep_seconds
        yield from _ids(db, _AHEAD_AND_TOO_OLD, (self._clock(), too_old))
        while run_ids := _ids(db, _TOO_OLD, (too_old,)):
            yield from run_ids
        while _size(db) > self._max_bytes and (run_ids := _ids(db, _OLDEST)):
            yield from run_ids

    async def settle(self, reservation: DayReservation, actual: Spend) -> None:
        await self._database.write(lambda db: daily_usage.settle(db, reservation, actual))

    async def spent(self, owner: str) -> Spend:
        return await self._database.run(lambda db: daily_usage.spent(db, owner, day_of(self._clock())))

    async def heartbeat(self) -> None:
        await self._database.write(self._heartbeat)

    async def aclose(self) -> None:
        await self._database.aclose()

    def warnings(self, owner: str | None = None) -> Sequence[str]:
        lost, name = self._database.lost_tables, self._database.file.name
        return (f"The store {name} has lost the content of {', '.join(lost)}, and goes on without it.",) if lost else ()

    def _heartbeat(self, db: sqlite3.Connection) -> None:
        this = Server.this()
        row = (self._server, this.pid, this.boot, self._clock())
        db.execute(
            "INSERT INTO servers (server, pid, boot, heard) VALUES (?, ?, ?, ?)"
            " ON CONFLICT (server) DO UPDATE SET heard = excluded.heard",
            row,
        )

    def _reserve(self, db: sqlite3.Connection, wanted: ReservationRequest) -> DayReservation:
        return daily_usage.reserve(db, wanted, self._server, self._clock(), self._is_alive)

    def _find(self, db: sqlite3.Connection, owner: str, key: str, since: float) -> Run | None:
        dates = dates_since(since, self._clock())
        run = self._read(db, "owner = ? AND key = ? AND created_at BETWEEN ? AND ?", (owner, key, *dates))
        return run if run and run.status in REUSABLE else None

    def _make_latest(self, db: sqlite3.Connection, owner: str, run_id: str) -> None:
        """Write nothing if the run is already the latest, so that the caller does not wait for the disk."""
        if db.execute(_LATEST, (owner,)).fetchone() != (run_id,):
            db.execute(_MAKE_LATEST, (owner, fix_surrogates(run_id)))

    def _read(self, db: sqlite3.Connection, where: str, values: tuple[object, ...]) -> Run | None:
        return next(iter(self._select(db, where, values, 1)), None)

    def _select(self, db: sqlite3.Connection, where: str, values: tuple[object, ...], limit: int) -> Sequence[Run]:
        rows = db.execute(
            f"SELECT {_COLUMNS} FROM runs WHERE {where} ORDER BY rowid DESC",
            tuple(fix_surrogates(value) if isinstance(value, str) else value for value in values),
        )
        readable = (run for row in rows if (run := self._run(db, row)))
        return list(islice(readable, limit))

    def _run(self, db: sqlite3.Connection, row: tuple[str, str, str, str]) -> Run | None:
        """Return the run of a row; None if it cannot be read, so that the other runs stay readable."""
        run_id, status, body, server = row
        records = db.execute("SELECT body FROM records WHERE run_id = ? ORDER BY rowid", (run_id,))
        try:
            run = decode_run(body).with_records(decode_record(text) for (text,) in records)
        except ValueError as error:
            logger.warning("Run %s in the store cannot be read (%s)", run_id, type(error).__name__)
            return None
        if "running" not in {status, run.status}:
            return run
        if status == "running" and self._is_alive(db, server):
            return replace(run, status="running", error=None)
        return replace(run, status="interrupted", error=_SERVER_GONE)

    def _mark_orphans_interrupted(self, db: sqlite3.Connection) -> None:
        """Mark the runs whose server is gone as interrupted, so that they can be deleted like ended runs."""
        for (server,) in db.execute("SELECT DISTINCT server FROM runs WHERE status = 'running'").fetchall():
            if not self._is_alive(db, server):
                db.execute("UPDATE runs SET status = 'interrupted' WHERE status = 'running' AND server = ?", (server,))

    def _is_alive(self, db: sqlite3.Connection, server: str) -> bool:
        if server == self._server:
            return True
        row = db.execute("SELECT pid, boot, heard FROM servers WHERE server = ?", (server,)).fetchone()
        return row is not None and Server(row[0], row[1]).is_alive(row[2], self._clock())


def _size(db: sqlite3.Connection) -> int:
    """Return the size of the used pages in bytes, without free pages."""
    return (_pragma(db, "page_count") - _pragma(db, "freelist_count")) * _pragma(db, "page_size")


def _vacuum_pages(db: sqlite3.Connection) -> tuple[int, bool]:
    """Remove some free pages from the file. Return how many, and whether that was all."""
    before = _pragma(db, "freelist_count")
    for _ in range(_VACUUM_PAGES):  # one by one, because Python stops the statement after its first page
        db.execute("PRAGMA incremental_vacuum(1)")
    after = _pragma(db, "freelist_count")
    return before - after, after in {0, before}


def _pragma(db: sqlite3.Connection, name: str) -> int:
    (value,) = db.execute(f"PRAGMA {name}").fetchone()
    return int(value)


def _ids(db: sqlite3.Connection, query: str, values: tuple[float, ...] = ()) -> list[str]:
    return [run_id for (run_id,) in db.execute(query, values)]
