"""The copy of a store from before its schema was changed: `runs.db.v2.bak` is one of version 2, next to `runs.db`.

To go back to an older moa-mcp, put it in the store's place. A run that is forgotten is forgotten in it, too.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path


def back_up(db: sqlite3.Connection, file: Path, version: int) -> None:
    """Copy the open database of `file` as it is now, readable for its owner alone; older copies go.

    Raises:
        OSError, sqlite3.Error: there is no room for it. Then there is no new copy, and the older ones stay.
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
    """Delete runs from the copies of `file`. A copy that has none left, or in which it cannot be done, goes."""
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
    """The copies that lie next to `file`."""
    return sorted(file.parent.glob(f"{file.name}.v*.bak"))
