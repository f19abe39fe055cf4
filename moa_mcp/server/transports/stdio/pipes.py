"""Reads stdin and writes stdout of the process as bytes, each in a daemon thread.

A thread that blocks on a pipe cannot be interrupted. With daemon threads on plain descriptors, a client that neither
writes, reads nor disconnects cannot stop the server or the interpreter from ending.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from queue import SimpleQueue
from threading import Thread

import anyio
from anyio import from_thread
from anyio.lowlevel import current_token
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from moa_mcp.server.transports.messages import OversizedLine, split_lines

STDIN, STDOUT, STDERR = 0, 1, 2

CHUNK_BYTES = 64 * 1024
"""The number of bytes per read."""


@contextmanager
def take_over_stdio() -> Generator[tuple[int, int]]:
    """Reserve stdin and stdout for the protocol: other code reads an empty stdin, and its output goes to stderr.

    The yielded descriptors stay open afterwards, because a thread may still be blocked on them.
    """
    stdin, stdout = os.dup(STDIN), os.dup(STDOUT)
    devnull = os.open(os.devnull, os.O_RDONLY)
    os.dup2(devnull, STDIN)
    os.close(devnull)
    os.dup2(STDERR, STDOUT)
    try:
        yield stdin, stdout
    finally:
        os.dup2(stdin, STDIN)
        os.dup2(stdout, STDOUT)


def lines_of(descriptor: int) -> MemoryObjectReceiveStream[bytes | OversizedLine]:
    """A stream of the lines from a descriptor. It ends at the end of the input."""
    arriving, lines = anyio.create_memory_object_stream[bytes | OversizedLine]()
    _start(partial(_read, descriptor, arriving, current_token()), "stdin")
    return lines


class Writer:
    """Writes to a descriptor in order, in its own thread."""

    def __init__(self, descriptor: int) -> None:
        self._pieces: SimpleQueue[tuple[bytes, Callable[[OSError | None], None]]] = SimpleQueue()
        _start(partial(_write, descriptor, self._pieces, current_token()), "stdout")

    async def write(self, piece: bytes) -> None:
        """Write all of `piece`. Raises BrokenResourceError if the reader has closed the pipe."""
        written, problems = anyio.Event(), list[OSError]()

        def done(problem: OSError | None) -> None:
            if problem is not None:
                problems.append(problem)
            written.set()

        self._pieces.put((piece, done))
        await written.wait()
        if problems:
            raise anyio.BrokenResourceError from problems[0]


def _start(work: Callable[[], None], name: str) -> None:
    Thread(target=work, name=name, daemon=True).start()


def _read(
    descriptor: int, arriving: MemoryObjectSendStream[bytes | OversizedLine], token: anyio.lowlevel.EventLoopToken
) -> None:
    # Errors after the end of the event loop are ignored: no task is left to receive them.
    with suppress(Exception):
        for line in split_lines(_chunks(descriptor)):
            from_thread.run(arriving.send, line, token=token)
    with suppress(Exception):
        from_thread.run_sync(arriving.close, token=token)


def _chunks(descriptor: int) -> Iterator[bytes]:
    with suppress(OSError):  # a closed terminal: treat it as the end of the input
        while chunk := os.read(descriptor, CHUNK_BYTES):
            yield chunk


def _write(
    descriptor: int,
    pieces: SimpleQueue[tuple[bytes, Callable[[OSError | None], None]]],
    token: anyio.lowlevel.EventLoopToken,
) -> None:
    with suppress(Exception):
        while True:
            piece, done = pieces.get()
            from_thread.run_sync(done, _write_all(descriptor, piece), token=token)


def _write_all(descriptor: int, piece: bytes) -> OSError | None:
    rest = memoryview(piece)
    try:
        while rest:
            rest = rest[os.write(descriptor, rest) :]
    except OSError as problem:
        return problem
    return None
