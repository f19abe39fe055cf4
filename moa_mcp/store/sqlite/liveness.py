"""Which servers on this machine are alive: a process of that id, of this boot, heard of lately."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ALIVE_SECONDS = 30.0
"""Seconds after its last heartbeat that a server whose process id is still in use counts as alive.

The id alone will not do: it may be another process's by now.
"""


@dataclass(frozen=True, slots=True)
class Server:
    """A process that owns runs."""

    pid: int
    boot: str

    @classmethod
    def this(cls) -> Server:
        """The process we are."""
        return cls(os.getpid(), _boot())

    def is_alive(self, last_heard: float, now: float) -> bool:
        """Whether it is alive at `now`; times are Unix seconds."""
        return self.boot == _boot() and now - last_heard < ALIVE_SECONDS and _has_process(self.pid)


@cache
def _boot() -> str:
    """What is different after every start of the machine, where the system tells it."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:
        return ""


def _has_process(pid: int) -> bool:
    if os.name == "nt":
        return True  # os.kill would end the process there; the heartbeat alone decides
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
