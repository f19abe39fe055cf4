"""A lock between processes: one writer of the configuration at a time. It also removes files of killed writers."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from moa_mcp.domain.errors import NotAllowed

LOCK = "changes.lock"

LOCK_SECONDS = 5.0
"""How long, in seconds, a change waits for the changes of other servers."""


@contextmanager
def config_lock(folder: Path, *swept: Path) -> Generator[None]:
    """Hold the lock of the configuration in `folder`. `swept` are more folders to clean of temporary files.

    Raises:
        NotAllowed: the lock is not free within `LOCK_SECONDS`, or the folder is not writable.
    """
    lock = FileLock(folder / LOCK, timeout=LOCK_SECONDS, mode=0o600)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        raise NotAllowed("The configuration cannot be changed now: another server is changing it. Try again.") from None
    except OSError as error:
        raise NotAllowed(f"The configuration cannot be changed ({error.strerror}). Make {folder} writable.") from None
    try:
        for orphan in (file for place in (folder, *swept) for file in place.glob(".*.tmp")):
            orphan.unlink(missing_ok=True)  # of a killed writer: while the lock is held, no other writer is alive
        yield
    finally:
        lock.release()
