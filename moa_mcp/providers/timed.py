"""A provider around a provider: no call takes longer than its limit, whatever still trickles in."""

from __future__ import annotations

import anyio

from moa_mcp.errors import ProviderError, Reason
from moa_mcp.model import Call, Draft
from moa_mcp.providers.base import OnText, Provider

DEFAULT_SECONDS = 120.0
"""The limit of a call that names none."""


class Timed:
    """Ends a call after its `timeout_seconds`, from the moment it is sent."""

    def __init__(self, inner: Provider) -> None:
        self._inner = inner

    async def complete(self, call: Call, on_text: OnText) -> Draft:
        """Ask within the limit. Raises ProviderError, TIMEOUT when the time is up."""
        seconds = DEFAULT_SECONDS if call.timeout_seconds is None else call.timeout_seconds
        heard = False

        def hear(piece: str) -> None:
            nonlocal heard
            heard = True
            on_text(piece)

        with anyio.move_on_after(seconds):
            return await self._inner.complete(call, hear)
        raise ProviderError(Reason.TIMEOUT, f"after {seconds:g} s", sent_text=heard)
