"""A client in its own process that requests `/healthz` every 20 ms on one connection.

`python -m benchmarks.probe URL` answers each line of its standard input with one line of JSON: the milliseconds of the
slowest request since the last line, an unanswered request included. It ends at the end of its input.
"""

from __future__ import annotations

import http.client
import subprocess
import sys
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from urllib.parse import urlsplit

EVERY = 0.02
PATH = "/healthz"
PATIENCE = 120.0


class Probe:
    """A running probe."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._stdin, self._stdout = process.stdin, process.stdout

    def worst_ms(self) -> float:
        """The milliseconds of the slowest request since the last call."""
        self._stdin.write(b"\n")
        self._stdin.flush()
        return float(self._stdout.readline())


@contextmanager
def probing(address: str) -> Generator[Probe]:
    """Probe the server at `address` while the block runs."""
    command = [sys.executable, "-m", __spec__.name, address]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            yield Probe(process)
        finally:
            process.kill()


class _Requests:
    """Sends the requests of a probe, and keeps the time of the slowest."""

    def __init__(self, address: str) -> None:
        self._netloc = urlsplit(address).netloc
        self._lock = threading.Lock()
        self._worst = 0.0
        self._since: float | None = None

    def ask_for_ever(self) -> None:
        connection = http.client.HTTPConnection(self._netloc, timeout=PATIENCE)
        while True:
            began = time.perf_counter()
            with self._lock:
                self._since = began
            try:
                connection.request("GET", PATH)
                connection.getresponse().read()
            except (OSError, http.client.HTTPException):
                connection.close()  # the next request opens a new connection
            with self._lock:
                self._worst = max(self._worst, time.perf_counter() - began)
                self._since = None
            time.sleep(max(0.0, began + EVERY - time.perf_counter()))

    def worst_ms(self) -> float:
        """The slowest request since the last call. A request without an answer counts with its time so far."""
        now = time.perf_counter()
        with self._lock:
            pending = 0.0 if self._since is None else now - self._since
            worst, self._worst = max(self._worst, pending), 0.0
        return round(worst * 1000, 1)


def main(address: str) -> None:
    """Send requests in a thread, and answer each line of standard input."""
    asking = _Requests(address)
    threading.Thread(target=asking.ask_for_ever, daemon=True).start()
    for _ in sys.stdin:
        sys.stdout.write(f"{asking.worst_ms()}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1])
