"""The listening socket: it takes every client that waits at once, so that a burst is not served late."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress

import anyio
from anyio.abc import SocketStream, TaskGroup

LOOPBACK = "127.0.0.1"

_BACKLOG = 4096

Serve = Callable[[SocketStream], Awaitable[None]]


def listening(port: int) -> socket.socket:
    """Listen on a port of this machine, 0 for any free one.

    Raises:
        OSError: the port is taken.
    """
    listener = socket.create_server((LOOPBACK, port), backlog=_BACKLOG)
    listener.settimeout(0)
    return listener


async def accept(listener: socket.socket, serve: Serve, tasks: TaskGroup) -> None:
    """Serve whoever connects, each in a task of its own, until cancelled."""
    while True:
        await anyio.wait_readable(listener)
        with suppress(BlockingIOError):
            while True:
                tasks.start_soon(_welcome, listener.accept()[0], serve)


async def _welcome(accepted: socket.socket, serve: Serve) -> None:
    try:
        stream = await SocketStream.from_socket(accepted)
    except ValueError:
        accepted.close()  # the client reset the connection before it could be served
    else:
        await serve(stream)
