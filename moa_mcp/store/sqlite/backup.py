"""Backups of a store from before a schema change: `runs.db.v2.bak`, next to `runs.db`, has schema version 2.

To go back to an older moa-mcp, replace the store with its backup. A deleted run is also deleted from the backups.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path


def back_up(db: sqlite3.Connection, file: Path, version: int) -> None:
    """Copy the open database of `file`, readable only by its owner, and delete older backups.

    Raises:
        OSError, sqlite3.Error: the copy failed, for example on a full disk. Then the older backups stay.
    """
    copy = file.with_name(f"{file.name}.v{version}.bak")
    unfinished = file.with_name(f"{copy.name}.tmp")
    unfinished.unlink(missing_ok=True)
    os.close(os.open(unfinished, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    try:
        with closing(sqlite3.connect(unfinished)) as target:
            db.backup(target)
        unfinished.replace(copy)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
    for other in backups_of(file):
        if other != copy:
            other.unlink()


def forget(file: Path, run_ids: Iterable[str]) -> None:
    """Delete runs from the backups of `file`. A backup that becomes empty or cannot be changed is deleted."""
    ids = [(run_id,) for run_id in run_ids]
    for copy in backups_of(file) if ids else ():
        try:
            with closing(sqlite3.connect(f"{copy.absolute().as_uri()}?mode=rw", uri=True)) as db, db:
                db.execute("PRAGMA foreign_keys = ON")
                db.execute("PRAGMA secure_delete = ON")
                db.executemany("DELETE FROM runs WHERE run_id = ?", ids)
                is_empty = db.execute("SELECT 1 FROM runs LIMIT 1").fetchone() is None
        except sqlite3.Error:
            is_empty = True
        if is_empty:
            copy.unlink(missing_ok=True)


def backups_of(file: Path) -> Sequence[Path]:
    """Return the backups next to `file`."""
    return sorted(file.parent.glob(f"{file.name}.v*.bak"))
