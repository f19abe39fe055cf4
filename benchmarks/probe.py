"""A client that asks `/healthz` every 20 ms on one kept connection, in a process of its own.

`python -m benchmarks.probe URL` answers each line of its standard input with one line of JSON: how many milliseconds
the slowest request since the last line took, one that is not answered yet included. It ends when its input does.
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
    """A probe that runs."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._stdin, self._stdout = process.stdin, process.stdout

    def worst_ms(self) -> float:
        """The slowest request since this was last asked for."""
        self._stdin.write(b"\n")
        self._stdin.flush()
        return float(self._stdout.readline())


@contextmanager
def probing(address: str) -> Generator[Probe]:
    """Ask the server at `address` while the block runs."""
    command = [sys.executable, "-m", __spec__.name, address]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            yield Probe(process)
        finally:
            process.kill()


class _Asking:
    """The requests of a probe and the slowest of them."""

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
                connection.close()  # the next request opens another
            with self._lock:
                self._worst = max(self._worst, time.perf_counter() - began)
                self._since = None
            time.sleep(max(0.0, began + EVERY - time.perf_counter()))

    def worst_ms(self) -> float:
        """The slowest since the last look; what is not answered yet goes on counting from here."""
        now = time.perf_counter()
        with self._lock:
            pending = 0.0 if self._since is None else now - self._since
            worst, self._worst = max(self._worst, pending), 0.0
        return round(worst * 1000, 1)


def main(address: str) -> None:
    """Ask, and answer each line."""
    asking = _Asking(address)
    threading.Thread(target=asking.ask_for_ever, daemon=True).start()
    for _ in sys.stdin:
        sys.stdout.write(f"{asking.worst_ms()}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1])
