"""The upstream in a process of its own, so that it shares no interpreter with what is measured."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

_ROOT = Path(__file__).parents[2]
_SECONDS_TO_END = 5


@dataclass(frozen=True, slots=True)
class UpstreamProcess:
    """A running upstream, by its address and process id."""

    base_url: str
    pid: int

    @property
    def anthropic_url(self) -> str:
        """Where the Anthropic dialect is spoken."""
        return self.base_url

    def ledger(self, *, bodies: bool = False) -> dict[str, Any]:
        """Ask what it has seen: `ChangeLog.summary` as it is now. Asking leaves no trace in it."""
        connection = http.client.HTTPConnection(urlsplit(self.base_url).netloc)
        try:
            connection.request("GET", f"/ledger?bodies={bodies:d}")
            seen: dict[str, Any] = json.load(connection.getresponse())
            return seen
        finally:
            connection.close()


@contextmanager
def upstream_process(
    script: str | None = None, *, delay_ms: float = 0, jitter_ms: float = 0, pieces: int = 4, seed: int = 0
) -> Generator[UpstreamProcess]:
    """Serve from a child process while the block runs.

    `script` names the function that answers, as MODULE:NAME. Without it each answer is an echo, which waits
    `delay_ms` milliseconds and up to `jitter_ms` more, drawn from `seed`.

    Raises:
        RuntimeError: the process ended before it served.
    """
    options = {"--delay-ms": delay_ms, "--jitter-ms": jitter_ms, "--pieces": pieces, "--seed": seed}
    given = [word for name, value in options.items() for word in (name, str(value))]
    given += ["--script", script] if script else []
    # Run in the folder that holds the package, so that it is found also when it is not installed.
    command = [sys.executable, "-m", "tests.upstream", *given]
    with subprocess.Popen(command, cwd=_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            yield _announced(process)
        finally:
            _end(process)


def _announced(process: subprocess.Popen[bytes]) -> UpstreamProcess:
    line = process.stdout.readline() if process.stdout else b""
    if not line:
        raise RuntimeError("The upstream process ended before it served; its standard error says why.")
    return UpstreamProcess(**json.loads(line))


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.stdin:
        process.stdin.close()
    try:
        process.wait(_SECONDS_TO_END)
    except subprocess.TimeoutExpired:
        process.kill()
