"""One accepted connection: requests are read and answered in turn until either side is through."""

from __future__ import annotations

import math
import socket
import struct
import sys
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress

import anyio
from anyio.abc import SocketAttribute, SocketStream
from anyio.streams.memory import MemoryObjectSendStream

from tests.upstream.request import Request, messages_in
from tests.upstream.steps import End, Pause, Step

Read = Callable[[bytes, bytes], Request]
Respond = Callable[[Request], Awaitable[bool]]

_LINGER_NOT_AT_ALL = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)


async def converse(stream: SocketStream, read: Read, respond: Respond) -> None:
    """Serve a connection until `respond` says that it is over or the client leaves.

    `read` makes a request of a head and a body, or raises ValueError, which ends the connection.
    """
    sender, requests = anyio.create_memory_object_stream[Request](math.inf)
    async with requests, anyio.create_task_group() as tasks:
        tasks.start_soon(_listen, stream, read, sender, tasks.cancel_scope)
        async for request in requests:
            if not await respond(request):
                break
        tasks.cancel_scope.cancel()


async def _listen(
    stream: SocketStream,
    read: Read,
    requests: MemoryObjectSendStream[Request],
    conversation: anyio.CancelScope,
) -> None:
    """Read also while an answer is under way, so that a client that leaves is noticed at once."""
    buffer = bytearray()
    with requests, suppress(anyio.BrokenResourceError, ValueError):
        async for data in stream:
            buffer += data
            for message in messages_in(buffer):
                requests.send_nowait(read(*message))
    conversation.cancel()


async def perform(stream: SocketStream, steps: Iterable[Step]) -> bool:
    """Carry out the steps; tell whether the connection can carry another answer.

    Pauses add up from the start, so that the time spent on writing does not make an answer late.

    Raises:
        anyio.BrokenResourceError: the client has left.
    """
    due = anyio.current_time()
    for step in steps:
        match step:
            case bytes():
                await stream.send(step)
            case Pause():
                due += step.seconds
                await anyio.sleep_until(due)
            case End.HANG:
                await anyio.sleep_forever()
            case End.RESET:
                _prepare_reset(stream)
                return False
            case End.CLOSE:
                return False
    return True


def _prepare_reset(stream: SocketStream) -> None:
    """Make the close that follows an RST: a socket that may not linger is reset."""
    raw = stream.extra(SocketAttribute.raw_socket)
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT_AT_ALL)
