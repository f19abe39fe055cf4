"""The SQLite file that several servers share. It is used from one worker thread at a time.

- A rollback journal with synchronous=FULL instead of WAL: SQLite before 3.51.3 can corrupt a WAL that two connections
  write.
- journal_mode=PERSIST: truncating the journal and letting it grow again takes a third of the time of a commit. A
  transaction that erases data truncates it all the same.
- BEGIN IMMEDIATE: a transaction that changes from reading to writing is refused without a wait.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, Generic, TypeVar

import anyio
import anyio.to_thread
from filelock import FileLock

from moa_mcp.store.base import Faults
from moa_mcp.store.sqlite.backup import back_up
from moa_mcp.store.sqlite.schema import VERSION, mend, migrate, version_of, writing

Result = TypeVar("Result")

BUSY_SECONDS = 10.0
"""How long a server waits for other servers that use the file."""

CHECKED_BYTES = 4 * 1024 * 1024
"""A file up to this size is checked when it is opened, which takes tens of milliseconds.

Damage in a larger file is found when the damaged pages are read. A check of 200 MB takes seconds and blocks all writes.
"""

JOURNAL_BYTES = 1024 * 1024
"""The largest size of the journal file between two transactions."""


class DamagedDatabase(Exception):
    """The file is not a usable database."""


class NewerSchema(Exception):
    """A newer moa-mcp wrote the file. It is only read, never changed."""


def _is_damage(error: Exception) -> bool:
    """Return whether the file is damaged.

    SQLite reports damage as a plain DatabaseError, and a busy, full or read-only file as one of its subclasses.
    """
    return isinstance(error, DamagedDatabase) or type(error) is sqlite3.DatabaseError


FAULTS = Faults((DamagedDatabase, NewerSchema, sqlite3.Error, OSError, ValueError), _is_damage)


class _JobFailed(Exception):
    """The work of one job failed, so its transaction must be rolled back."""


class _Job(Generic[Result]):
    """Work that waits for a transaction, and its result or error."""

    def __init__(self, work: Callable[[sqlite3.Connection], Result], *, erases: bool) -> None:
        self.erases = erases
        self.done = False
        self._work = work
        self._result: Result
        self._error: Exception | None = None

    def do(self, db: sqlite3.Connection) -> None:
        """Do the work. Raises _JobFailed if the work fails, so that the transaction is rolled back."""
        self._error = None
        try:
            self._result = self._work(db)
        except Exception as error:
            self._error = error
            raise _JobFailed from error

    def fail(self, error: Exception) -> None:
        self._error = error

    def result(self) -> Result:
        if self._error is not None:
            raise self._error
        return self._result


class Database:
    """One connection, used by one thread at a time. Writes that wait at the same time share one commit.

    `lost_tables` has the names of the tables that were missing when the file was opened; they were created empty.
    """

    def __init__(self, file: Path) -> None:
        """Open `file`. Under a lock, create, repair or migrate it; back it up before a migration.

        Raises:
            DamagedDatabase: the file is not a database, or it is damaged.
            OSError, sqlite3.OperationalError: the file cannot be created or written.
        """
        self.file = file
        self._thread = anyio.CapacityLimiter(1)
        self._commits = anyio.Lock()  # not fast_acquire: writes of the same event loop round join
        self._waiting: list[_Job[Any]] = []
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with FileLock(f"{file}.lock", timeout=BUSY_SECONDS, mode=0o600):
            # Mode 0600 before SQLite opens it: SQLite gives its journal the same mode.
            os.close(os.open(file, os.O_CREAT | os.O_RDWR, 0o600))
            self._db, self.lost_tables = _connect(file)
        self.read_only = version_of(self._db) > VERSION

    async def run(self, work: Callable[[sqlite3.Connection], Result]) -> Result:
        """Do `work` on the connection in a worker thread. Started work is finished even if the caller is cancelled."""
        return await anyio.to_thread.run_sync(work, self._db, limiter=self._thread)

    async def write(self, work: Callable[[sqlite3.Connection], Result], *, erases: bool = False) -> Result:
        """Do `work` in a transaction. The result is on disk once this returns.

        A commit waits for the disk, so the task that commits also commits the work of all waiting tasks. If `erases` is
        set, the deleted data does not stay in the journal file either.
        """
        if self.read_only:
            raise NewerSchema(f"{self.file.name} was written by a newer moa-mcp and is only read")
        job = _Job(work, erases=erases)
        self._waiting.append(job)
        try:
            async with self._commits:
                if not job.done:
                    await self._commit_all()
        finally:
            if job in self._waiting:  # cancelled before its transaction started: do not do it at all
                self._waiting.remove(job)
        return job.result()

    async def _commit_all(self) -> None:
        """Commit all waiting jobs, even if the current task is cancelled, because the other tasks depend on it."""
        jobs, self._waiting = self._waiting, []
        with anyio.CancelScope(shield=True):
            await self.run(lambda db: _commit(db, jobs))
            for job in jobs:
                job.done = True

    async def aclose(self) -> None:
        """Close the connection."""
        await self.run(lambda db: db.close())


def _commit(db: sqlite3.Connection, jobs: Sequence[_Job[Any]]) -> None:
    """Commit all `jobs` in one transaction. If one fails, commit each job alone, so that the others succeed.

    There are no savepoints: each statement lets another thread run, which on a busy server costs more than the disk.
    """
    try:
        with _truncated_journal(db) if any(job.erases for job in jobs) else nullcontext(), writing(db):
            for job in jobs:
                job.do(db)
    except _JobFailed:
        if len(jobs) > 1:
            for job in jobs:
                _commit(db, [job])
    except sqlite3.Error as error:
        for job in jobs:
            job.fail(error)


@contextmanager
def _truncated_journal(db: sqlite3.Connection) -> Generator[None]:
    """Truncate the journal after the transaction, because the journal has the old content of the pages."""
    db.execute("PRAGMA journal_size_limit = 0")
    try:
        yield
    finally:
        db.execute(f"PRAGMA journal_size_limit = {JOURNAL_BYTES}")


def _connect(file: Path) -> tuple[sqlite3.Connection, Sequence[str]]:
    """Return a connection to the file, and the names of the tables that were missing."""
    db = sqlite3.connect(file, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        if version_of(db) == 0:
            db.execute("PRAGMA auto_vacuum = INCREMENTAL")
        db.execute("PRAGMA journal_mode = PERSIST")
        db.execute(f"PRAGMA journal_size_limit = {JOURNAL_BYTES}")
        db.execute("PRAGMA synchronous = FULL")
        db.execute("PRAGMA foreign_keys = ON")
        db.execute("PRAGMA secure_delete = ON")
        _check(db, file)
        return db, () if version_of(db) > VERSION else _bring_up_to_date(db, file)
    except BaseException as error:
        db.close()
        if isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError):
            raise DamagedDatabase(str(error)) from error
        raise


def _check(db: sqlite3.Connection, file: Path) -> None:
    """Check a small file (see `CHECKED_BYTES`) for damage. Raises sqlite3.DatabaseError."""
    if file.stat().st_size <= CHECKED_BYTES:
        (verdict,) = db.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise sqlite3.DatabaseError(verdict)


def _bring_up_to_date(db: sqlite3.Connection, file: Path) -> Sequence[str]:
    lost = mend(db)
    if 0 < (version := version_of(db)) < VERSION:
        back_up(db, file, version)
    migrate(db)
    return lost
