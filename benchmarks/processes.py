"""Starts `moa-mcp serve` as a process on loopback, and measures the resources of a process.

Each process is ended by its id, and gets only the environment variables that are given here.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

SECONDS_TO_START = 60.0
SECONDS_TO_END = 10.0

ROOT = Path(__file__).parents[1]

Figures = dict[str, float | int | str | None]


@dataclass(frozen=True, slots=True)
class ServerProcess:
    """A running server: its process id, the URL of its port without a path, and the file of its standard error."""

    pid: int
    address: str
    log: Path

    @property
    def url(self) -> str:
        """The URL for Streamable HTTP."""
        return f"{self.address}/mcp"

    @property
    def port(self) -> int:
        return int(self.address.rpartition(":")[2])

    @property
    def tracebacks(self) -> int:
        """The number of tracebacks on its standard error."""
        return self.log.read_text("utf-8", "replace").count("Traceback (most recent call last)")


@contextmanager
def server_process(home: Path, variables: Mapping[str, str] | None = None) -> Generator[ServerProcess]:
    """Serve over HTTP on any free port while the block runs; `home` is its MOA_MCP_HOME.

    `variables` are added to its environment.

    Raises:
        RuntimeError: the server ended, or did not listen within `SECONDS_TO_START`.
    """
    log = home / "server.log"
    command = [sys.executable, "-m", "moa_mcp", "serve", "--transport=http", "--port=0"]
    command += ["--requests-per-minute=10000000"]
    own = {"MOA_MCP_HOME": str(home), "PYTHONPATH": str(ROOT), "PATH": os.defpath}
    with log.open("wb") as errors:
        process = subprocess.Popen(
            command,
            env={**own, **(variables or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
        )
        try:
            yield ServerProcess(process.pid, _wait_for_address(process, log), log)
        finally:
            _end(process)


def _wait_for_address(process: subprocess.Popen[bytes], log: Path) -> str:
    began = time.monotonic()
    while time.monotonic() - began < SECONDS_TO_START:
        message = log.read_text("utf-8", "replace")
        for line in message.splitlines(keepends=True):
            if " listening at " in line and line.endswith("\n"):
                return line.partition(" listening at ")[2].split()[0].rpartition("/")[0]
        if process.poll() is not None:
            raise RuntimeError(f"The server ended before it listened: {message[-500:]}")
        time.sleep(0.02)
    raise RuntimeError(f"The server did not listen within {SECONDS_TO_START:g} s.")


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(SECONDS_TO_END)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def footprint(pid: int) -> Figures:
    """The resources of a process: resident megabytes now and at most, file descriptors, threads, CPU seconds.

    Without /proc all are None, and `why_null` gives the reason.
    """
    folder = Path(f"/proc/{pid}")
    if not (folder / "status").exists():
        figures: Figures = dict.fromkeys(("rss_mb", "peak_rss_mb", "descriptors", "threads", "cpu_seconds"))
        return {**figures, "why_null": f"there is no {folder}/status on {sys.platform}"}
    status = dict(line.split(":", 1) for line in (folder / "status").read_text("ascii", "replace").splitlines())
    # The name may contain parentheses and spaces. Fields 12 and 13 after it are the user and the system time.
    ticks = sum(map(int, (folder / "stat").read_text("ascii", "replace").rpartition(")")[2].split()[11:13]))
    return {
        "rss_mb": _megabytes(status["VmRSS"]),
        "peak_rss_mb": _megabytes(status["VmHWM"]),
        "descriptors": sum(1 for _ in (folder / "fd").iterdir()),
        "threads": int(status["Threads"]),
        "cpu_seconds": round(ticks / os.sysconf("SC_CLK_TCK"), 2),
    }


def _megabytes(field: str) -> float:
    return round(int(field.split()[0]) / 1024, 1)
