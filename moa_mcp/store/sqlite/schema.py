"""The tables of the run store, and how an older file becomes a newer one. Only SQL, no runs."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing

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
    """Version 2: what each owner spent and reserved of a day, and which calls are booked there."""
    numbers = "calls INTEGER NOT NULL, tokens INTEGER NOT NULL, usd REAL NOT NULL"
    db.execute(f"CREATE TABLE days (owner TEXT NOT NULL, day INTEGER NOT NULL, {numbers}, PRIMARY KEY (owner, day))")
    db.execute(
        "CREATE TABLE holds (hold TEXT PRIMARY KEY, owner TEXT NOT NULL, day INTEGER NOT NULL, run_id TEXT NOT NULL,"
        f" server TEXT NOT NULL, until REAL NOT NULL, live INTEGER NOT NULL, {numbers})"
    )
    db.execute("ALTER TABLE records ADD COLUMN booked INTEGER NOT NULL DEFAULT 0")


def _third(db: sqlite3.Connection) -> None:
    """Version 3: which run each owner was given last, and indexes for stores of many runs.

    A run's rowid is its place in the order of beginnings. `given` holds while `newest` is the owner's highest rowid:
    no run was begun since. Servers of version 2 that still run can go on writing to the same file.
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


def _booked_before_sent(db: sqlite3.Connection) -> None:
    """Version 4: what of a hold is booked as sent: it stays so if the server dies."""
    for number, kind in (("calls", "INTEGER"), ("tokens", "INTEGER"), ("usd", "REAL")):
        db.execute(f"ALTER TABLE holds ADD COLUMN sent_{number} {kind} NOT NULL DEFAULT 0")


MIGRATIONS: tuple[Migration, ...] = (_create_tables, _add_daily_usage, _third, _booked_before_sent)
VERSION = len(MIGRATIONS)


def version_of(db: sqlite3.Connection) -> int:
    """The version of the schema that a file has; 0 for a new one."""
    (version,) = db.execute("PRAGMA user_version").fetchone()
    return int(version)


def migrate(db: sqlite3.Connection, version: int = VERSION) -> None:
    """Bring a file up to `version`, each step in a transaction of its own."""
    for number, step in enumerate(MIGRATIONS[version_of(db) : version], start=version_of(db) + 1):
        db.execute("BEGIN IMMEDIATE")
        try:
            step(db)
            db.execute(f"PRAGMA user_version = {number}")
        except BaseException:
            db.execute("ROLLBACK")
            raise
        db.execute("COMMIT")


def mend(db: sqlite3.Connection) -> Sequence[str]:
    """Create the tables, indexes and triggers that a file of its version should have and lacks.

    Returns the names of the tables: these are empty now.

    Raises:
        sqlite3.DatabaseError: a table lacks a column, or the file has tables that are not ours.
    """
    present = _columns(db)
    if present and version_of(db) == 0:
        raise sqlite3.DatabaseError("it has tables, and no version")
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as model:
        migrate(model, version_of(db))
        for table, columns in _columns(model).items():
            if missing := columns - present.get(table, columns):
                raise sqlite3.DatabaseError(f"the table {table} has no column {min(missing)}")
        wanted = model.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY rowid").fetchall()
    there = {name for (name,) in db.execute("SELECT name FROM sqlite_master")}
    lost = [(name, sql) for name, sql in wanted if name not in there]
    for _, sql in lost:
        db.execute(sql)
    return [name for name, sql in lost if sql.startswith("CREATE TABLE")]


def _columns(db: sqlite3.Connection) -> dict[str, set[str]]:
    """The names of the columns of each table."""
    tables = db.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    return {
        table: {name for (name,) in db.execute("SELECT name FROM pragma_table_info(?)", (table,))}
        for (table,) in tables
    }
