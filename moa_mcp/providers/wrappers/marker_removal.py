"""A wrapper that takes the markers and the code of the run out of replies, before anything shows or stores them."""

from __future__ import annotations

from dataclasses import replace

from moa_mcp.domain.markers import MarkerFilter, without_markers
from moa_mcp.domain.model import Call, ChatCall, Draft, Result
from moa_mcp.providers.base import OnText, Provider

NOTE = "markers of its prompt were taken out of its text"


class MarkerRemoval:
    """Filters pieces and drafts of chat calls; `nonce` is the code of the run."""

    def __init__(self, inner: Provider, nonce: str) -> None:
        self._inner = inner
        self._nonce = nonce

    async def complete(self, call: Call, on_text: OnText) -> Result:
        """Ask, and filter the answer. Raises ProviderError."""
        if not isinstance(call, ChatCall):
            return await self._inner.complete(call, on_text)
        markers = MarkerFilter(self._nonce)
        try:
            result = await self._inner.complete(call, lambda piece: on_text(markers.feed(piece)))
        finally:
            if rest := markers.close():
                on_text(rest)
        if not isinstance(result, Draft):
            return result
        text, thinking = without_markers(result.text, self._nonce), without_markers(result.thinking, self._nonce)
        if (text, thinking) == (result.text, result.thinking):
            return result
        notes = (*result.notes, NOTE) if text != result.text else result.notes
        return replace(result, text=text, thinking=thinking, notes=notes)
