"""A wrapper that limits how many calls run at the same time; the others wait for their turn."""

from __future__ import annotations

import anyio

from moa_mcp.domain.model import Call, Result
from moa_mcp.providers.base import OnText, Provider
from moa_mcp.providers.notices import Queued, report


class ConcurrencyLimit:
    """Lets `max_concurrency` calls through at a time."""

    def __init__(self, inner: Provider, max_concurrency: int) -> None:
        self._inner = inner
        self._max_concurrency = max_concurrency
        self._turns = anyio.Semaphore(max_concurrency, fast_acquire=True)  # a free turn is taken without a yield

    async def complete(self, call: Call, on_text: OnText) -> Result:
        """Wait for a turn, then ask. Raises ProviderError."""
        if self._turns.value == 0:
            report(Queued(self._max_concurrency))
        async with self._turns:
            return await self._inner.complete(call, on_text)
