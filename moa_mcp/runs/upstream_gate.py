"""The gate through which the requests of all runs go to models. Once it is closed, none is sent any more.

For the end of a server whose client has left: what needs no further request is still answered.
"""

from __future__ import annotations

from collections.abc import Callable

import anyio

from moa_mcp.domain.model import Call, Draft, Usage
from moa_mcp.providers.base import OnText, Provider, usage_of

StopRun = Callable[[], None]
"""Stops a run, with all its calls. Must not block."""

IsSent = Callable[[Call], bool]
"""Whether a call leaves this process; one to the demo panel, or the execution of code, does not."""


class UpstreamGate:
    """Knows the requests in flight. `is_sent` tells which calls go through it."""

    def __init__(self, is_sent: IsSent) -> None:
        self._is_sent = is_sent
        self._in_flight: list[StopRun] = []
        self._closed = False

    def guard(self, provider: Provider, stop: StopRun) -> Provider:
        """The provider of a run, with the gate before it: `stop` is called when a request may not be sent."""
        return _Guarded(self, provider, stop)

    def close(self) -> None:
        """Stop the runs that have a request in flight, and later each one that comes to need another."""
        self._closed = True
        for stop in tuple(self._in_flight):
            stop()

    async def complete(self, provider: Provider, stop: StopRun, call: Call, on_text: OnText) -> Draft:
        """Send a call, or stop its run if the gate is closed. Raises ProviderError."""
        if not self._is_sent(call):
            return await provider.complete(call, on_text)
        if self._closed:
            stop()
            await anyio.sleep_forever()  # the stop cancels this
        self._in_flight.append(stop)
        try:
            return await provider.complete(call, on_text)
        finally:
            self._in_flight.remove(stop)


class _Guarded:
    """The provider of one run, with the gate before it."""

    def __init__(self, gate: UpstreamGate, provider: Provider, stop: StopRun) -> None:
        self._gate = gate
        self._provider = provider
        self._stop = stop

    async def complete(self, call: Call, on_text: OnText) -> Draft:
        return await self._gate.complete(self._provider, self._stop, call, on_text)

    def usage_of(self, call: Call) -> Usage:
        return usage_of(self._provider, call)
