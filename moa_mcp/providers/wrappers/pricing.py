"""A wrapper that writes its cost into each draft, with the same rates that price a plan."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from moa_mcp.domain.model import Call, Draft
from moa_mcp.providers.base import OnText, Provider
from moa_mcp.providers.prices import FREE, Rates
from moa_mcp.providers.usage import is_counted


class Pricing:
    """Prices drafts by the model that answered, or else by the requested one; a free model needs no token counts.

    A price that the provider itself reported stays. `provider` is the first part of the provider's model ids; `rates`
    returns the rates of a model.
    """

    def __init__(self, inner: Provider, provider: str, rates: Callable[[str], Rates | None]) -> None:
        self._inner = inner
        self._provider = provider
        self._rates = rates

    async def complete(self, call: Call, on_text: OnText) -> Draft:
        """Ask, and price the draft; if the price is unknown, the draft stays unchanged. Raises ProviderError."""
        draft = await self._inner.complete(call, on_text)
        cost = self._cost(call, draft) if draft.usage.cost_usd is None else None
        return draft if cost is None else replace(draft, usage=replace(draft.usage, cost_usd=cost))

    def _cost(self, call: Call, draft: Draft) -> float | None:
        asked = self._rates(call.model)
        if asked is FREE:
            return 0.0
        served = self._rates(f"{self._provider}/{draft.served_model}") if draft.served_model else None
        known = served or asked
        return known.cost(draft.usage) if known is not None and is_counted(call, draft) else None
