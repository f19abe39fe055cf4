"""A loopback upstream whose models tell in their names how many milliseconds they take: `m300-agg` takes 300.

So the critical path of a run is known beforehand, and nothing of the client's can hide in it. One loop over bare
sockets that sends what `moa_mcp.testing.Upstream` would send, made once per model: a client on the other core is to
be measured, and a server that works as hard as its client would be measured along with it. Of the ideal of a
hundred asks at once, a client on bare sockets reaches 90 % against this one, and 77 % against `Upstream`.
"""

from __future__ import annotations

import heapq
import itertools
import json
import re
import selectors
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from functools import cache
from urllib.parse import urlsplit

import anyio

from moa_mcp.testing import Reply, Request
from moa_mcp.testing.listener import LOOPBACK, listening
from moa_mcp.testing.render import reply_steps
from moa_mcp.testing.request import messages_in

ANSWER = "The answer is forty-two, and here is why it must be so. " * 8
PIECES = 4

_MODEL = re.compile(rb'"model": ?"(m(\d+)[^"]*)"')
_LARGEST_READ = 65536


@contextmanager
def started() -> Generator[str]:
    """The upstream in a process of its own; yields its base URL."""
    server = subprocess.Popen([sys.executable, "-m", __spec__.name], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert server.stdin is not None
    assert server.stdout is not None
    try:
        yield json.loads(server.stdout.readline())["base_url"]
    finally:
        server.stdin.close()
        server.wait(10)
        server.stdout.close()


async def time_of(base_url: str, model: str, calls: int = 7) -> float:
    """Seconds that a call of `model` takes on a bare socket that is already open: what no client can be below."""
    address = urlsplit(base_url)
    body = json.dumps({"model": model, "stream": True, "messages": [{"role": "user", "content": "How long?"}]}).encode()
    head = f"POST {address.path}/chat/completions HTTP/1.1\r\nhost: bare\r\ncontent-length: {len(body)}\r\n\r\n"
    times: list[float] = []
    async with await anyio.connect_tcp(str(address.hostname), address.port or 80) as stream:
        for _ in range(calls):
            began = time.perf_counter()
            await stream.send(head.encode() + body)
            reply = b""
            while not reply.endswith(b"0\r\n\r\n"):
                reply += await stream.receive()
            times.append(time.perf_counter() - began)
    return statistics.median(times)


@cache
def _reply(model: str) -> bytes:
    """What a model of that name answers, as `Upstream` would write it."""
    asked = json.dumps({"model": model, "stream": True, "stream_options": {"include_usage": True}}).encode()
    request = Request.parse(b"POST /v1/chat/completions HTTP/1.1", asked, number=1, received_at=0)
    steps = reply_steps(request, Reply(ANSWER, pieces=PIECES, input_tokens=100, output_tokens=120))
    return b"".join(step for step in steps if isinstance(step, bytes))


class _Server:
    """Accepts, reads requests, and answers each when its model's time is over."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._selector = selectors.DefaultSelector()
        self._received: dict[socket.socket, bytearray] = {}
        self._due: list[tuple[float, int, socket.socket, bytes]] = []
        self._numbers = itertools.count()  # answers that are due at one moment go out in the order of the requests

    def serve_until(self, end: int) -> None:
        """Serve until there is something to read at the file descriptor `end`."""
        self._selector.register(end, selectors.EVENT_READ)
        self._selector.register(self._listener, selectors.EVENT_READ)
        while True:
            for key, _ in self._selector.select(self._answer_what_is_due()):
                if key.fileobj == end:
                    return
                if key.fileobj is self._listener:
                    self._accept()
                elif isinstance(key.fileobj, socket.socket):
                    self._read(key.fileobj)

    def _answer_what_is_due(self) -> float | None:
        """Send the answers whose time has come; the seconds until the next, None if there is none."""
        while self._due:
            if (left := self._due[0][0] - time.monotonic()) > 0:
                return left
            _, _, client, answer = heapq.heappop(self._due)
            if client in self._received:
                client.sendall(answer)
        return None

    def _accept(self) -> None:
        try:
            while True:
                client = self._listener.accept()[0]
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                client.settimeout(0)
                self._received[client] = bytearray()
                self._selector.register(client, selectors.EVENT_READ)
        except BlockingIOError:
            pass

    def _read(self, client: socket.socket) -> None:
        try:
            data = client.recv(_LARGEST_READ)
        except ConnectionError:
            data = b""
        if data:
            self._take(client, data)
        else:
            self._selector.unregister(client)
            del self._received[client]
            client.close()

    def _take(self, client: socket.socket, data: bytes) -> None:
        received = self._received[client]
        received += data
        for _, body in messages_in(received):
            if model := _MODEL.search(body):
                at = time.monotonic() + int(model[2]) / 1000
                heapq.heappush(self._due, (at, next(self._numbers), client, _reply(model[1].decode())))


def _serve() -> None:
    with listening(0) as listener:
        base_url = f"http://{LOOPBACK}:{listener.getsockname()[1]}/v1"
        sys.stdout.write(json.dumps({"base_url": base_url}) + "\n")
        sys.stdout.flush()
        _Server(listener).serve_until(sys.stdin.fileno())


if __name__ == "__main__":
    _serve()
