"""A wrapper that takes the markers and the code of the run out of replies, before anything shows or stores them."""

from __future__ import annotations

from dataclasses import replace

from moa_mcp.domain.markers import MarkerFilter, without_markers
from moa_mcp.domain.model import Call, ChatCall, Draft
from moa_mcp.providers.base import OnText, Provider

NOTE = "markers of its prompt were taken out of its text"


class MarkerRemoval:
    """Filters pieces and drafts of chat calls; `nonce` is the code of the run."""

    def __init__(self, inner: Provider, nonce: str) -> None:
        self._inner = inner
        self._nonce = nonce

    async def complete(self, call: Call, on_text: OnText) -> Draft:
        """Ask, and filter the answer. Raises ProviderError."""
        if not isinstance(call, ChatCall):
            return await self._inner.complete(call, on_text)
        markers = MarkerFilter(self._nonce)
        try:
            draft = await self._inner.complete(call, lambda piece: on_text(markers.feed(piece)))
        finally:
            if rest := markers.close():
                on_text(rest)
        text, thinking = without_markers(draft.text, self._nonce), without_markers(draft.thinking, self._nonce)
        notes = (*draft.notes, NOTE) if text != draft.text else draft.notes
        return replace(draft, text=text, thinking=thinking, notes=notes)
