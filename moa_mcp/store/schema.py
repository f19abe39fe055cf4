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


MIGRATIONS: tuple[Migration, ...] = (_first,)
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
