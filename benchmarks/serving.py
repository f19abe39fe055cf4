"""A server with one loop over bare sockets: it reads requests, and sends each answer at its due time.

It does very little work, because its client is measured. `tests.upstream.Upstream` can do much more, but it uses as
much CPU time as a lean client, and would slow down a hundred asks at once.
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
"""Takes the head and the body of a request; returns the seconds until the answer is due, and its bytes."""

_LARGEST_READ = 65536


class Serving:
    """Serves the clients that connect to `listener`, which must be non-blocking."""

    def __init__(self, listener: socket.socket, answer: Answer) -> None:
        self._listener = listener
        self._answer = answer
        self._selector = selectors.DefaultSelector()
        self._received: dict[socket.socket, bytearray] = {}
        self._due: list[tuple[float, int, socket.socket, bytes]] = []
        self._numbers = itertools.count()  # answers with the same due time are sent in the order of the requests

    def until_readable(self, end: int) -> None:
        """Serve until the file descriptor `end` is readable."""
        self._selector.register(end, selectors.EVENT_READ)
        self._selector.register(self._listener, selectors.EVENT_READ)
        while True:
            for key, _ in self._selector.select(self._send_due()):
                if key.fileobj == end:
                    return
                if key.fileobj is self._listener:
                    self._accept()
                elif isinstance(key.fileobj, socket.socket):
                    self._read(key.fileobj)

    def _send_due(self) -> float | None:
        """Send the answers that are due. Return the seconds until the next one; None if there is none."""
        while self._due:
            if (left := self._due[0][0] - time.monotonic()) > 0:
                return left
            _, _, client, answer = heapq.heappop(self._due)
            if client in self._received:
                with suppress(ConnectionError):  # the client has disconnected; `_read` will close its socket
                    client.sendall(answer)
        return None

    def _accept(self) -> None:
        with suppress(BlockingIOError):  # no more connections are waiting
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
            self._answer_requests(client, data)
        else:
            self._selector.unregister(client)
            del self._received[client]
            client.close()

    def _answer_requests(self, client: socket.socket, data: bytes) -> None:
        arrived = time.monotonic()
        received = self._received[client]
        received += data
        for head, body in messages_in(received):
            seconds, answer = self._answer(head, body)
            heapq.heappush(self._due, (arrived + seconds, next(self._numbers), client, answer))
