"""A provider around a provider: writes into each draft what it cost."""

from __future__ import annotations

from dataclasses import replace

from moa_mcp.domain.endpoints import Endpoint
from moa_mcp.domain.model import Call, Draft
from moa_mcp.providers.base import OnText, Provider
from moa_mcp.providers.prices import price


class Pricing:
    """Prices drafts by the model that answered, else by the one that was asked; what is local is free."""

    def __init__(self, inner: Provider, endpoint: Endpoint) -> None:
        self._inner = inner
        self._endpoint = endpoint

    async def complete(self, call: Call, on_text: OnText) -> Draft:
        """Ask, and price the draft; a price that is not known stays None. Raises ProviderError."""
        draft = await self._inner.complete(call, on_text)
        cost = self._cost(call, draft)
        return draft if cost is None else replace(draft, usage=replace(draft.usage, cost_usd=cost))

    def _cost(self, call: Call, draft: Draft) -> float | None:
        if self._endpoint.local:
            return 0.0
        read, written = draft.usage.input_tokens, draft.usage.output_tokens
        if read is None or written is None:
            return None
        cost = price(f"{self._endpoint.name}/{draft.served_model}", read, written) if draft.served_model else None
        return price(call.model, read, written) if cost is None else cost
