"""One writer of the configuration at a time, whatever process it is in; and what a killed one left is swept away."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from moa_mcp.domain.errors import NotAllowed

LOCK = "changes.lock"

LOCK_SECONDS = 5.0
"""How long a change waits for the other servers to be done with theirs."""


@contextmanager
def config_lock(folder: Path, *swept: Path) -> Generator[None]:
    """Hold the lock of the configuration in `folder`; `swept` are the folders in which writers may have died.

    Raises:
        NotAllowed: the others are not done in `LOCK_SECONDS`, or the folder cannot be written.
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
    """Remove the temporary files: whoever holds the lock knows that nobody is writing one."""
    for orphan in folder.glob(".*.tmp"):
        orphan.unlink(missing_ok=True)
