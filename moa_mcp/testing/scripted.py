"""Providers with scripted replies, for tests. They use no network, no clock and no random numbers."""

from __future__ import annotations

from collections.abc import Callable

import anyio
import anyio.lowlevel

from moa_mcp.domain.model import Call, Draft, Result
from moa_mcp.providers.base import OnText


class ScriptedProvider:
    """Answers each call with `reply(call)`: the text of a draft, a whole result, or an error, which is raised.

    `calls` lists the calls in the order in which they arrived.
    """

    def __init__(self, reply: Callable[[Call], str | Result | Exception]) -> None:
        self._reply = reply
        self.calls: list[Call] = []

    async def complete(self, call: Call, on_text: OnText) -> Result:
        self.calls.append(call)
        on_text("")  # reports that the request is being sent, as real providers do
        await anyio.lowlevel.checkpoint()
        reply = self._reply(call)
        if isinstance(reply, Exception):
            raise reply
        result = Draft(reply, served_model=call.model, finish_reason="stop") if isinstance(reply, str) else reply
        if isinstance(result, Draft):
            on_text(result.text)
        return result


class HoldingProvider:
    """Wraps a provider, and holds each call for which `holds(call)` is true until the test sets `opened`.

    `held` is set when the first held call arrives; `cancelled` lists the calls that were cancelled while held.
    """

    def __init__(self, inner: ScriptedProvider, holds: Callable[[Call], bool]) -> None:
        self._inner = inner
        self._holds = holds
        self.held = anyio.Event()
        self.opened = anyio.Event()
        self.cancelled: list[Call] = []

    async def complete(self, call: Call, on_text: OnText) -> Result:
        if self._holds(call):
            self.held.set()
            try:
                await self.opened.wait()
            except anyio.get_cancelled_exc_class():
                self.cancelled.append(call)
                raise
        return await self._inner.complete(call, on_text)
