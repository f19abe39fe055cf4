"""The SQLite file that several servers share: opened safely, used from one worker thread at a time.

FULL and a journal that is rolled back rather than WAL: SQLite before 3.51.3 can corrupt a WAL that two
connections write. PERSIST, because to cut the journal off and to let it grow again is a third of what a commit
takes; an erasing one cuts it off all the same. BEGIN IMMEDIATE, because a transaction that turns from reading to
writing is refused without a wait.
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

from moa_mcp.store.sqlite.backup import back_up
from moa_mcp.store.sqlite.schema import VERSION, mend, migrate, version_of

Result = TypeVar("Result")

BUSY_SECONDS = 10.0
"""How long one server waits for the others to be done with the file."""

CHECKED_BYTES = 4 * 1024 * 1024
"""A file up to this size is checked when it is opened, which takes some tens of milliseconds.

Damage in a larger one shows when the damaged pages are read. To check 200 MB takes seconds, in which nobody can write.
"""

JOURNAL_BYTES = 1024 * 1024
"""What the journal may keep of the disk between two transactions."""


class DamagedDatabase(Exception):
    """The file is not a usable database."""


class NewerSchema(Exception):
    """The file was written by a newer moa-mcp; it is read, never changed."""


class _JobFailed(Exception):
    """The work of one of those that were to be committed together failed."""


class _Job(Generic[Result]):
    """Work that waits for its turn in a transaction, and what came of it."""

    def __init__(self, work: Callable[[sqlite3.Connection], Result], *, erases: bool) -> None:
        self.erases = erases
        self.done = False
        self._work = work
        self._result: Result
        self._error: Exception | None = None

    def do(self, db: sqlite3.Connection) -> None:
        """Do the work. Raises _OneFailed if that fails: the transaction must not stay."""
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
    """One connection, used by one thread at a time. Writes that wait together are committed together.

    `lost_tables` names the tables that the file lacked when it was opened: it has empty ones now.
    """

    def __init__(self, file: Path) -> None:
        """Open `file`, creating, mending or migrating it under a lock; before it is migrated it is backed up.

        Raises:
            Damaged: it is no database, or a damaged one.
            OSError, sqlite3.OperationalError: it cannot be created or written.
        """
        self.file = file
        self._thread = anyio.CapacityLimiter(1)
        self._commits = anyio.Lock()  # not fast: whoever else comes to write in this round is taken along
        self._waiting: list[_Job[Any]] = []
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with FileLock(f"{file}.lock", timeout=BUSY_SECONDS, mode=0o600):
            _create_private(file)
            self._db, self.lost_tables = _connect(file)
        self.read_only = version_of(self._db) > VERSION

    async def run(self, work: Callable[[sqlite3.Connection], Result]) -> Result:
        """Do `work` on the connection in a worker thread; what was begun is finished even if we are cancelled."""
        return await anyio.to_thread.run_sync(work, self._db, limiter=self._thread)

    async def write(self, work: Callable[[sqlite3.Connection], Result], *, erases: bool = False) -> Result:
        """Do `work` in a transaction; it is on the disk once this returns.

        A commit waits for the disk, so whoever comes to commit takes all that wait along. What work that `erases`
        deletes is not to be found in the journal either.
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
            if job in self._waiting:  # given up before its turn: it is not done by halves
                self._waiting.remove(job)
        return job.result()

    async def _commit_all(self) -> None:
        """Commit all that wait, whatever becomes of the one whose turn it is: the others rely on it."""
        jobs, self._waiting = self._waiting, []
        with anyio.CancelScope(shield=True):
            await self.run(lambda db: _commit(db, jobs))
            for job in jobs:
                job.done = True

    async def aclose(self) -> None:
        """Close the connection."""
        await self.run(lambda db: db.close())


def _commit(db: sqlite3.Connection, jobs: Sequence[_Job[Any]]) -> None:
    """Commit all that `jobs` do at once; if one fails, each by itself, so that its neighbours' work stays.

    No savepoints: every statement lets another thread run first, which on a busy server costs more than the disk.
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
def writing(db: sqlite3.Connection) -> Generator[None]:
    """A transaction that may write from its start."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


@contextmanager
def _truncated_journal(db: sqlite3.Connection) -> Generator[None]:
    """Let the transaction leave nothing of its journal, which has the pages as they were before."""
    db.execute("PRAGMA journal_size_limit = 0")
    try:
        yield
    finally:
        db.execute(f"PRAGMA journal_size_limit = {JOURNAL_BYTES}")


def _create_private(file: Path) -> None:
    """Make the file ours alone before SQLite does: its journal takes over the mode."""
    os.close(os.open(file, os.O_CREAT | os.O_RDWR, 0o600))


def _connect(file: Path) -> tuple[sqlite3.Connection, Sequence[str]]:
    """A connection to the file, and the names of the tables that it had lost."""
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
    """Raises sqlite3.DatabaseError if SQLite finds damage; of a large file only what is needed to open it is read."""
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
