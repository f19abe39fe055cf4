"""The tables of the run store, and how an older file becomes a newer one. Only SQL, no runs."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

Migration = Callable[[sqlite3.Connection], None]


def _first(db: sqlite3.Connection) -> None:
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


def _second(db: sqlite3.Connection) -> None:
    """Version 2: what each owner spent and reserved of a day, and which calls are booked there."""
    numbers = "calls INTEGER NOT NULL, tokens INTEGER NOT NULL, usd REAL NOT NULL"
    db.execute(f"CREATE TABLE days (owner TEXT NOT NULL, day INTEGER NOT NULL, {numbers}, PRIMARY KEY (owner, day))")
    db.execute(
        "CREATE TABLE holds (hold TEXT PRIMARY KEY, owner TEXT NOT NULL, day INTEGER NOT NULL, run_id TEXT NOT NULL,"
        f" server TEXT NOT NULL, until REAL NOT NULL, live INTEGER NOT NULL, {numbers})"
    )
    db.execute("ALTER TABLE records ADD COLUMN booked INTEGER NOT NULL DEFAULT 0")


MIGRATIONS: tuple[Migration, ...] = (_first, _second)
VERSION = len(MIGRATIONS)


def version_of(db: sqlite3.Connection) -> int:
    """The version of the schema that a file has; 0 for a new one."""
    (version,) = db.execute("PRAGMA user_version").fetchone()
    return int(version)


def migrate(db: sqlite3.Connection) -> None:
    """Bring a file up to `VERSION`, each step in a transaction of its own."""
    for number, step in enumerate(MIGRATIONS[version_of(db) :], start=version_of(db) + 1):
        db.execute("BEGIN IMMEDIATE")
        try:
            step(db)
            db.execute(f"PRAGMA user_version = {number}")
        except BaseException:
            db.execute("ROLLBACK")
            raise
        db.execute("COMMIT")
