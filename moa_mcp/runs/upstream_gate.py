"""The gate for the requests of all runs to models. After it is closed, no request is sent.

The server closes it when its client has left. Runs that need no more requests still complete.
"""

from __future__ import annotations

from collections.abc import Callable

import anyio

from moa_mcp.domain.model import Call, Result, Usage
from moa_mcp.providers.base import OnText, Provider, usage_of

StopRun = Callable[[], None]
"""Stops a run and all its calls. Must not block."""

IsSent = Callable[[Call], bool]
"""Whether a call leaves this process; one to the demo panel, or the execution of code, does not."""


class UpstreamGate:
    """Tracks the requests in flight. `is_sent` decides which calls go through the gate."""

    def __init__(self, is_sent: IsSent) -> None:
        self.is_sent = is_sent
        self.in_flight: list[StopRun] = []
        self.is_closed = False

    def guard(self, provider: Provider, stop: StopRun) -> Provider:
        """Wrap the provider of a run in the gate. The gate calls `stop` if it may not send a request."""
        return _GuardedProvider(self, provider, stop)

    def close(self) -> None:
        """Stop the runs with a request in flight, and from now on each run that needs another request."""
        self.is_closed = True
        for stop in tuple(self.in_flight):
            stop()


class _GuardedProvider:
    """The provider of one run, behind the gate."""

    def __init__(self, gate: UpstreamGate, provider: Provider, stop: StopRun) -> None:
        self._gate = gate
        self._provider = provider
        self._stop = stop

    async def complete(self, call: Call, on_text: OnText) -> Result:
        if not self._gate.is_sent(call):
            return await self._provider.complete(call, on_text)
        if self._gate.is_closed:
            self._stop()
            await anyio.sleep_forever()  # `_stop` cancels this task
        self._gate.in_flight.append(self._stop)
        try:
            return await self._provider.complete(call, on_text)
        finally:
            self._gate.in_flight.remove(self._stop)

    def usage_of(self, call: Call) -> Usage:
        return usage_of(self._provider, call)
