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
        for place in (folder, *swept):
            _remove_orphans(place)
        yield
    finally:
        lock.release()


def _remove_orphans(folder: Path) -> None:
    """Remove temporary files. The lock must be held: then no writer is alive, so all of them are left over."""
    for orphan in folder.glob(".*.tmp"):
        orphan.unlink(missing_ok=True)
