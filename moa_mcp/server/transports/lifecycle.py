"""The lifetime of the server: until its client leaves or a signal arrives; then an ordered shutdown.

The runs end first, while the transport is still open: the store records them as interrupted, and clients that wait
for a run get that result. Then the transport has a short time to send its last answers.
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
"""Ends a transport. The caller cancels it after a timeout."""


class Lifetime:
    """The time in which runs can execute. `end` may be called by any task, and more than once."""

    def __init__(self, on_end: Callable[[], None]) -> None:
        self.scope = anyio.CancelScope()
        self._on_end = on_end

    def end(self) -> None:
        """Stop the runs, and the server after them."""
        if not self.scope.cancel_called:
            self._on_end()
            self.scope.cancel()


class Transport(Protocol):
    """Serves a service until cancelled. It may end the lifetime itself, and reports its `Finish` via `task_status`."""

    async def __call__(self, service: Service, lifetime: Lifetime, *, task_status: TaskStatus[Finish]) -> None: ...


async def serve(
    transport: Transport,
    opening: AbstractAsyncContextManager[Service],
    *,
    grace_seconds: float,
    on_end: Callable[[], None] = lambda: None,
) -> None:
    """Serve until the client leaves or SIGTERM or SIGINT arrives.

    The transport has `grace_seconds` to finish. `on_end` is called when the shutdown begins.
    """
    lifetime, finish = Lifetime(on_end), None
    async with anyio.create_task_group() as tasks:
        await tasks.start(_handle_signals, lifetime)
        with lifetime.scope:
            async with opening as service:
                finish = await tasks.start(transport, service, lifetime)
                await anyio.sleep_forever()
        # Leaving `opening` has ended the runs. The transport still runs, so it can send their last state.
        if finish is not None:
            with anyio.move_on_after(grace_seconds):
                await finish()
        tasks.cancel_scope.cancel()


async def _handle_signals(lifetime: Lifetime, *, task_status: TaskStatus[None]) -> None:
    if sys.platform == "win32":
        task_status.started()  # on Windows, Python raises KeyboardInterrupt instead
        return
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        task_status.started()
        async for received in signals:
            logger.info("Ending on %s", received.name)
            lifetime.end()
