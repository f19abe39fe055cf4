"""The tables of the run store, and the migrations of older files. Only SQL, no runs."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Generator, Sequence
from contextlib import closing, contextmanager

Migration = Callable[[sqlite3.Connection], None]


def _create_tables(db: sqlite3.Connection) -> None:
    """Version 1: servers, runs and the journal of their calls."""
    db.execute(
        "CREATE TABLE servers (server TEXT PRIMARY KEY, pid INTEGER NOT NULL, boot TEXT NOT NULL, heard REAL NOT NULL)"
    )
    db.execute(
        "CREATE TABLE runs (run_id TEXT PRIMARY KEY, owner TEXT NOT NULL, status TEXT NOT NULL, key TEXT NOT NULL,"
        " created_at REAL NOT NULL, server TEXT NOT NULL, body TEXT NOT NULL)"
    )
    db.execute("CREATE INDEX runs_by_owner ON runs (owner, created_at)")
    db.execute(
        "CREATE TABLE records (run_id TEXT NOT NULL REFERENCES runs ON DELETE CASCADE, call_id TEXT NOT NULL,"
        " body TEXT NOT NULL, PRIMARY KEY (run_id, call_id))"
    )


def _add_daily_usage(db: sqlite3.Connection) -> None:
    """Version 2: what each owner spent and reserved in a day, and which calls are booked there."""
    numbers = "calls INTEGER NOT NULL, tokens INTEGER NOT NULL, usd REAL NOT NULL"
    db.execute(f"CREATE TABLE days (owner TEXT NOT NULL, day INTEGER NOT NULL, {numbers}, PRIMARY KEY (owner, day))")
    db.execute(
        "CREATE TABLE holds (hold TEXT PRIMARY KEY, owner TEXT NOT NULL, day INTEGER NOT NULL, run_id TEXT NOT NULL,"
        f" server TEXT NOT NULL, until REAL NOT NULL, live INTEGER NOT NULL, {numbers})"
    )
    db.execute("ALTER TABLE records ADD COLUMN booked INTEGER NOT NULL DEFAULT 0")


def _add_given_runs(db: sqlite3.Connection) -> None:
    """Version 3: the run that was last given to each owner, and indexes for stores with many runs.

    Rowids are in the order in which runs were admitted. A row of `given` is valid while `newest` is the owner's highest
    rowid, which means that no run was started since. Servers of version 2 can still write to the same file.
    """
    db.execute("CREATE TABLE given (owner TEXT PRIMARY KEY, run_id TEXT NOT NULL, newest INTEGER NOT NULL)")
    db.execute(
        "CREATE TRIGGER run_deleted AFTER DELETE ON runs BEGIN"
        " DELETE FROM given WHERE owner = old.owner AND run_id = old.run_id;"
        " UPDATE given SET newest = (SELECT coalesce(max(rowid), 0) FROM runs WHERE owner = old.owner)"
        " WHERE owner = old.owner AND newest = old.rowid;"
        " END"
    )
    db.execute("DROP INDEX IF EXISTS runs_by_owner")
    db.execute("CREATE INDEX runs_of_owner ON runs (owner)")
    db.execute("CREATE INDEX runs_of_key ON runs (owner, key)")
    db.execute("CREATE INDEX runs_running ON runs (server) WHERE status = 'running'")
    db.execute("CREATE INDEX runs_ended ON runs (created_at) WHERE status != 'running'")


def _add_sent_amounts(db: sqlite3.Connection) -> None:
    """Version 4: the part of a reservation that is booked as sent, and stays booked if the server dies."""
    for number, kind in (("calls", "INTEGER"), ("tokens", "INTEGER"), ("usd", "REAL")):
        db.execute(f"ALTER TABLE holds ADD COLUMN sent_{number} {kind} NOT NULL DEFAULT 0")


MIGRATIONS: tuple[Migration, ...] = (_create_tables, _add_daily_usage, _add_given_runs, _add_sent_amounts)
VERSION = len(MIGRATIONS)


def version_of(db: sqlite3.Connection) -> int:
    """Return the schema version of a file; 0 for a new file."""
    (version,) = db.execute("PRAGMA user_version").fetchone()
    return int(version)


@contextmanager
def writing(db: sqlite3.Connection) -> Generator[None]:
    """Open a transaction that has the write lock from its start."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def migrate(db: sqlite3.Connection, version: int = VERSION) -> None:
    """Migrate a file to `version`, with one transaction for each step."""
    for number, step in enumerate(MIGRATIONS[version_of(db) : version], start=version_of(db) + 1):
        with writing(db):
            step(db)
            db.execute(f"PRAGMA user_version = {number}")


def mend(db: sqlite3.Connection) -> Sequence[str]:
    """Create the tables, indexes and triggers that are missing from a file of its version.

    Returns the names of the created tables, which are empty.

    Raises:
        sqlite3.DatabaseError: a table lacks a column, or the file has tables of another program.
    """
    present = _columns(db)
    if present and version_of(db) == 0:
        raise sqlite3.DatabaseError("it has tables, and no version")
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as model:
        migrate(model, version_of(db))
        for table, columns in _columns(model).items():
            if missing := columns - present.get(table, columns):
                raise sqlite3.DatabaseError(f"the table {table} has no column {min(missing)}")
        expected = model.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY rowid").fetchall()
    existing = {name for (name,) in db.execute("SELECT name FROM sqlite_master")}
    missing_items = [(name, sql) for name, sql in expected if name not in existing]
    for _, sql in missing_items:
        db.execute(sql)
    return [name for name, sql in missing_items if sql.startswith("CREATE TABLE")]


def _columns(db: sqlite3.Connection) -> dict[str, set[str]]:
    """Return the column names of each table."""
    tables = db.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    return {
        table: {name for (name,) in db.execute("SELECT name FROM pragma_table_info(?)", (table,))}
        for (table,) in tables
    }
