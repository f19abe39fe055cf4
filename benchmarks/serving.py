"""A server on one loop over bare sockets: it reads requests, and sends each answer when its time has come.

It does next to nothing, because it is its client that is measured: `tests.upstream.Upstream`, which can do much more,
works as hard as a lean client does, and would hold up a hundred asks at once by itself.
"""

from __future__ import annotations

import heapq
import itertools
import selectors
import socket
import time
from collections.abc import Callable
from contextlib import suppress

from tests.upstream.request import messages_in

Answer = Callable[[bytes, bytes], tuple[float, bytes]]
"""Makes, of the head and the body of a request, the seconds that its answer takes and the answer as it is sent."""

_LARGEST_READ = 65536


class Serving:
    """Serves whoever connects to `listener`, which does not block."""

    def __init__(self, handler: socket.socket, answer: Answer) -> None:
        self._listener = handler
        self._answer = answer
        self._selector = selectors.DefaultSelector()
        self._received: dict[socket.socket, bytearray] = {}
        self._due: list[tuple[float, int, socket.socket, bytes]] = []
        self._numbers = itertools.count()  # what is due at one moment goes out in the order of the requests

    def until_readable(self, end: int) -> None:
        """Serve until there is something to read at the file descriptor `end`."""
        self._selector.register(end, selectors.EVENT_READ)
        self._selector.register(self._listener, selectors.EVENT_READ)
        while True:
            for key, _ in self._selector.select(self._send_what_is_due()):
                if key.fileobj == end:
                    return
                if key.fileobj is self._listener:
                    self._accept()
                elif isinstance(key.fileobj, socket.socket):
                    self._read(key.fileobj)

    def _send_what_is_due(self) -> float | None:
        """Send the answers whose time has come; the seconds until the next, None if there is none."""
        while self._due:
            if (left := self._due[0][0] - time.monotonic()) > 0:
                return left
            _, _, client, answer = heapq.heappop(self._due)
            if client in self._received:
                with suppress(ConnectionError):  # it has just left, and is let go of when that is read
                    client.sendall(answer)
        return None

    def _accept(self) -> None:
        with suppress(BlockingIOError):  # once nobody is left who waits
            while True:
                client = self._listener.accept()[0]
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                client.settimeout(0)
                self._received[client] = bytearray()
                self._selector.register(client, selectors.EVENT_READ)

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
        arrived = time.monotonic()
        received = self._received[client]
        received += data
        for head, body in messages_in(received):
            seconds, answer = self._answer(head, body)
            heapq.heappush(self._due, (arrived + seconds, next(self._numbers), client, answer))
