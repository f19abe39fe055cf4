"""How long a client waits for moa-mcp to start, and how much memory the server then uses.

Prints the time from process start to the answer of `tools/list` over stdio, and the resident memory at that moment:
for moa-mcp, for the smallest possible server (bare_server.py), and their ratios. The starts of both alternate; the
figures are medians.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

STARTS = 11

SERVERS = {
    "bare": [sys.executable, "-m", "benchmarks.bare_server"],
    "moa_mcp": [sys.executable, "-m", "moa_mcp", "serve"],
}

_HELLO = (
    {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "initialize",
        "params": {
            "protocolVersion": "2025-11-25",
            "capabilities": {},
            "clientInfo": {"name": "benchmark", "version": "1"},
        },
    },
    {"jsonrpc": "2.0", "method": "notifications/initialized"},
    {"jsonrpc": "2.0", "id": 2, "method": "tools/list"},
)


@dataclass(frozen=True, slots=True)
class Start:
    """One start of a server."""

    seconds: float
    rss_mb: float


def start(command: list[str], home: str) -> Start:
    """Start a server, ask it for its tools, and end it."""
    began = time.perf_counter()
    server = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={"MOA_MCP_HOME": home, "PYTHONPATH": str(Path.cwd())},
    )
    assert server.stdin is not None
    assert server.stdout is not None
    server.stdin.write(b"".join(json.dumps(message).encode() + b"\n" for message in _HELLO))
    server.stdin.flush()
    while json.loads(server.stdout.readline()).get("id") != 2:
        pass
    found = Start(time.perf_counter() - began, rss_mb(server.pid))
    server.stdin.close()
    server.wait(10)
    server.stdout.close()
    return found


def rss_mb(pid: int) -> float:
    """The resident memory of a process, in megabytes."""
    status = Path(f"/proc/{pid}/status").read_text("ascii")
    (kilobytes,) = (line.split()[1] for line in status.splitlines() if line.startswith("VmRSS"))
    return int(kilobytes) / 1024


def main() -> None:
    """Start both servers alternately, and print the figures."""
    found: dict[str, list[Start]] = {name: [] for name in SERVERS}
    with tempfile.TemporaryDirectory() as home:
        for _ in range(STARTS):
            for name, command in SERVERS.items():
                found[name].append(start(command, home))
    seconds = {name: statistics.median(one.seconds for one in starts) for name, starts in found.items()}
    memory = {name: statistics.median(one.rss_mb for one in starts) for name, starts in found.items()}
    report = {
        "seconds": {name: round(value, 3) for name, value in seconds.items()},
        "rss_mb": {name: round(value, 1) for name, value in memory.items()},
        "seconds_ratio": round(seconds["moa_mcp"] / seconds["bare"], 3),
        "rss_ratio": round(memory["moa_mcp"] / memory["bare"], 3),
    }
    sys.stdout.write(json.dumps(report) + "\n")


if __name__ == "__main__":
    main()
