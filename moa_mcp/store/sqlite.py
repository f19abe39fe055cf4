"""Runs in an SQLite file that several servers on one machine share."""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from uuid import uuid4

from moa_mcp.model import CallRecord, Run
from moa_mcp.store import daybook
from moa_mcp.store.base import CANCELLED, GOES_ON, STANDING, Admitted
from moa_mcp.store.codec import decode_record, decode_run, encode_record, encode_run
from moa_mcp.store.database import Database
from moa_mcp.store.ledger import Hold, Spend, Wanted, day_of
from moa_mcp.store.liveness import Server
from moa_mcp.text import repair

logger = logging.getLogger(__name__)

_LOST = f"The server that ran it is gone. {GOES_ON}"
_COLUMNS = "run_id, owner, status, body, server"
_ADD_IF_OURS = (
    "INSERT OR REPLACE INTO records (run_id, call_id, body)"
    " SELECT run_id, ?, ? FROM runs WHERE run_id = ? AND server = ?"
)
_SERVER_FORGOTTEN = 86_400.0
_PAGES_AT_ONCE = 512


class SqliteStore:
    """Keeps runs in `file` for `keep_days`, and as many as `max_mb` megabytes hold.

    Raises (from here and from every method): `Damaged`, `Newer`, sqlite3.Error, OSError. `Resilient` turns
    these into "go on without".
    """

    def __init__(
        self,
        file: Path,
        *,
        keep_days: float = 30,
        max_mb: float = 200,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._database = Database(file)
        self._keep_seconds = keep_days * 86_400
        self._max_bytes = max_mb * 1024 * 1024
        self._clock = clock
        self._server = uuid4().hex

    async def admit(self, run: Run, wanted: Wanted, since: float | None = None) -> Admitted | Run:
        def start(db: sqlite3.Connection) -> Admitted | Run:
            before = None if since is None else self._find(db, run.owner, run.key, since)
            if before is not None:
                return before
            self._beat(db)
            admitted = Admitted.of(run, self._reserve(db, wanted))
            row = (run.run_id, run.owner, run.status, run.key, run.created_at, self._server, encode_run(admitted.run))
            db.execute("INSERT INTO runs VALUES (?, ?, ?, ?, ?, ?, ?)", row)
            return admitted

        return await self._database.write(start)

    async def add_records(self, run_id: str, records: Sequence[CallRecord]) -> bool:
        rows = [(record.call.id, encode_record(record), run_id, self._server) for record in records]

        def add(db: sqlite3.Connection) -> bool:
            if db.executemany(_ADD_IF_OURS, rows).rowcount == len(rows):
                return True
            # Of a run that was removed, or whose file was damaged, nothing is kept.
            return db.execute("SELECT 1 FROM runs WHERE run_id = ?", (run_id,)).fetchone() is None

        return await self._database.write(add)

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

    async def claim(self, owner: str, run_id: str, wanted: Wanted) -> Admitted | None:
        def take(db: sqlite3.Connection) -> Admitted | None:
            self._beat(db)
            run = self._read(db, "owner = ? AND run_id = ?", (owner, run_id))
            if run is None or run.status != "interrupted":
                return None
            db.execute("UPDATE runs SET server = ?, status = 'running' WHERE run_id = ?", (self._server, run_id))
            return Admitted.of(replace(run, status="running", error=None), self._reserve(db, wanted))

        return await self._database.write(take)

    async def get(self, owner: str, run_id: str) -> Run | None:
        return await self._database.run(lambda db: self._read(db, "owner = ? AND run_id = ?", (owner, run_id)))

    async def find(self, owner: str, key: str, since: float) -> Run | None:
        return await self._database.run(lambda db: self._find(db, owner, key, since))

    async def latest(self, owner: str) -> Run | None:
        return await self._database.run(lambda db: self._read(db, "owner = ?", (owner,)))

    async def list(self, owner: str, limit: int = 50) -> Sequence[Run]:
        return await self._database.run(lambda db: self._select(db, "owner = ?", (owner,), limit))

    async def remove(self, owner: str, run_id: str) -> bool:
        def delete(db: sqlite3.Connection) -> bool:
            daybook.sweep(db, owner, self._clock(), self._server, self._lives)
            row = (owner, repair(run_id))
            return db.execute("DELETE FROM runs WHERE owner = ? AND run_id = ?", row).rowcount > 0

        return await self._database.write(delete, erases=True)

    async def prune(self) -> int:
        def delete(db: sqlite3.Connection) -> int:
            self._call_the_dead_interrupted(db)
            daybook.sweep_all(db, self._clock(), self._server, self._lives)
            db.execute("DELETE FROM servers WHERE heard < ?", (self._clock() - _SERVER_FORGOTTEN,))
            gone = db.execute(
                "DELETE FROM runs WHERE status != 'running' AND created_at < ?",
                (self._clock() - self._keep_seconds,),
            ).rowcount
            while _size(db) > self._max_bytes and (deleted := _delete_oldest(db)):
                gone += deleted
            return gone

        gone = await self._database.write(delete, erases=True)
        # Step by step: each is short, so that no other server waits for long.
        while gone and await self._database.write(_give_pages_back):
            pass
        return gone

    async def settle(self, hold: Hold, actual: Spend) -> None:
        await self._database.write(lambda db: daybook.settle(db, hold, actual))

    async def spent(self, owner: str) -> Spend:
        return await self._database.run(lambda db: daybook.spent(db, owner, day_of(self._clock())))

    async def beat(self) -> None:
        await self._database.write(self._beat)

    async def aclose(self) -> None:
        await self._database.aclose()

    def trouble(self) -> str | None:
        return None

    def _beat(self, db: sqlite3.Connection) -> None:
        this = Server.this()
        row = (self._server, this.pid, this.boot, self._clock())
        db.execute(
            "INSERT INTO servers VALUES (?, ?, ?, ?) ON CONFLICT (server) DO UPDATE SET heard = excluded.heard", row
        )

    def _reserve(self, db: sqlite3.Connection, wanted: Wanted) -> Hold:
        return daybook.reserve(db, wanted, self._server, self._clock(), self._lives)

    def _find(self, db: sqlite3.Connection, owner: str, key: str, since: float) -> Run | None:
        run = self._read(db, "owner = ? AND key = ? AND created_at >= ?", (owner, key, since))
        return run if run and run.status in STANDING else None

    def _read(self, db: sqlite3.Connection, where: str, values: tuple[object, ...]) -> Run | None:
        return next(iter(self._select(db, where, values, 1)), None)

    def _select(self, db: sqlite3.Connection, where: str, values: tuple[object, ...], limit: int) -> Sequence[Run]:
        rows = db.execute(
            f"SELECT {_COLUMNS} FROM runs WHERE {where} ORDER BY created_at DESC, rowid DESC",
            tuple(repair(value) if isinstance(value, str) else value for value in values),
        )
        readable = (run for row in rows if (run := self._readable(db, row)))
        return list(islice(readable, limit))

    def _readable(self, db: sqlite3.Connection, row: tuple[str, str, str, str, str]) -> Run | None:
        """The run of a row, or None: one that cannot be read must not hide the others."""
        try:
            return self._run(db, row)
        except ValueError as error:
            logger.warning("Run %s in the store cannot be read (%s)", row[0], type(error).__name__)
            return None

    def _run(self, db: sqlite3.Connection, row: tuple[str, str, str, str, str]) -> Run:
        run_id, _, status, body, server = row
        run = decode_run(body)
        records = db.execute("SELECT body FROM records WHERE run_id = ? ORDER BY rowid", (run_id,))
        run = run.with_records(decode_record(text) for (text,) in records)
        if "running" not in {status, run.status}:
            return run
        if status == "running" and self._lives(db, server):
            return replace(run, status="running", error=None)
        return replace(run, status="interrupted", error=_LOST)

    def _call_the_dead_interrupted(self, db: sqlite3.Connection) -> None:
        """Mark the runs whose server is gone, so that they can be forgotten as the ended ones are."""
        for run_id, server in db.execute("SELECT run_id, server FROM runs WHERE status = 'running'").fetchall():
            if not self._lives(db, server):
                db.execute("UPDATE runs SET status = 'interrupted' WHERE run_id = ?", (run_id,))

    def _lives(self, db: sqlite3.Connection, server: str) -> bool:
        if server == self._server:
            return True
        row = db.execute("SELECT pid, boot, heard FROM servers WHERE server = ?", (server,)).fetchone()
        return row is not None and Server(row[0], row[1]).lives(row[2], self._clock())


def _size(db: sqlite3.Connection) -> int:
    """Bytes that the rows take; pages that deletions have freed do not count."""
    (pages,), (free,), (size,) = (
        db.execute(f"PRAGMA {name}").fetchone() for name in ("page_count", "freelist_count", "page_size")
    )
    return int((pages - free) * size)


def _give_pages_back(db: sqlite3.Connection) -> bool:
    """Shorten the file by some of its free pages; False when it has none left."""
    db.execute(f"PRAGMA incremental_vacuum({_PAGES_AT_ONCE})").fetchall()
    (before,), (auto,) = (db.execute(f"PRAGMA {name}").fetchone() for name in ("freelist_count", "auto_vacuum"))
    return bool(before and auto)


def _delete_oldest(db: sqlite3.Connection) -> int:
    cursor = db.execute(
        "DELETE FROM runs WHERE run_id ="
        " (SELECT run_id FROM runs WHERE status != 'running' ORDER BY created_at LIMIT 1)"
    )
    return cursor.rowcount
