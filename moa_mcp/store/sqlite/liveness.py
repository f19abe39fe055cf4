"""Finds out which servers on this machine are alive: by process id, boot id and last heartbeat."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ALIVE_SECONDS = 30.0
"""Seconds after its last heartbeat for which a server counts as alive, if its process id is in use.

The process id alone is not enough, because another process may have it now.
"""


@dataclass(frozen=True, slots=True)
class Server:
    """A process that owns runs."""

    pid: int
    boot: str

    @classmethod
    def this(cls) -> Server:
        """Return the current process."""
        return cls(os.getpid(), _boot())

    def is_alive(self, last_heard: float, now: float) -> bool:
        """Return whether the server is alive at `now`. Times are Unix seconds."""
        return self.boot == _boot() and now - last_heard < ALIVE_SECONDS and _has_process(self.pid)


@cache
def _boot() -> str:
    """Return the boot id, which changes with every start of the machine; empty if the system has none."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:
        return ""


def _has_process(pid: int) -> bool:
    if os.name == "nt":
        return True  # on Windows, os.kill would end the process; only the heartbeat decides
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
