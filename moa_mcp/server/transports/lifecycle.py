"""How long the server lives: until its client leaves or a signal comes, and then in an order that loses nothing.

The runs end first, while the transport still stands: they are written down as interrupted, and whoever waits
for one is told so. Then the transport gets a moment to say what it has to say.
"""

from __future__ import annotations

import logging
import signal
import sys
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import anyio
from anyio.abc import TaskStatus

from moa_mcp.service.service import Service

logger = logging.getLogger(__name__)

Finish = Callable[[], Awaitable[None]]
"""Brings a transport to its end; it may take as long as it likes, and is cut off when it takes too long."""


class Lifetime:
    """The time that runs have. `end` may be called by anybody, any number of times."""

    def __init__(self, on_end: Callable[[], None]) -> None:
        self.scope = anyio.CancelScope()
        self._on_end = on_end

    def end(self) -> None:
        """Stop the runs, and the server after them."""
        if not self.scope.cancel_called:
            self._on_end()
            self.scope.cancel()


class Transport(Protocol):
    """Serves a service until it is cancelled; it may end a life itself, and says how it is brought to its end."""

    async def __call__(self, service: Service, lifetime: Lifetime, *, task_status: TaskStatus[Finish]) -> None: ...


async def serve(
    transport: Transport,
    opening: AbstractAsyncContextManager[Service],
    *,
    grace_seconds: float,
    on_end: Callable[[], None] = lambda: None,
) -> None:
    """Serve until the client leaves or SIGTERM or SIGINT comes.

    The transport is given `patience` seconds for its end. `on_end` is called when the end begins.
    """
    lifetime, finish = Lifetime(on_end), None
    async with anyio.create_task_group() as tasks:
        await tasks.start(_handle_signals, lifetime)
        with lifetime.scope:
            async with opening as service:
                finish = await tasks.start(transport, service, lifetime)
                await anyio.sleep_forever()
        if finish is not None:
            with anyio.move_on_after(grace_seconds):
                await finish()
        tasks.cancel_scope.cancel()


async def _handle_signals(lifetime: Lifetime, *, task_status: TaskStatus[None]) -> None:
    if sys.platform == "win32":
        task_status.started()  # there, Python raises KeyboardInterrupt itself
        return
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        task_status.started()
        async for received in signals:
            logger.info("Ending on %s", received.name)
            lifetime.end()
