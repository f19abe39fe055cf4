"""A wrapper that writes its cost into each result, with the same rates that price a plan."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from moa_mcp.domain.model import Call, Result
from moa_mcp.providers.base import OnText, Provider
from moa_mcp.providers.prices import FREE, Rates
from moa_mcp.providers.usage import is_counted


class Pricing:
    """Prices results by the model that answered, or else by the requested one; a free model needs no token counts.

    A price that the provider itself reported stays, and a configured one holds for any model that answered.
    `provider` is the first part of the provider's model ids; `rates` returns the rates of a model.
    """

    def __init__(self, inner: Provider, provider: str, rates: Callable[[str], Rates | None]) -> None:
        self._inner = inner
        self._provider = provider
        self._rates = rates

    async def complete(self, call: Call, on_text: OnText) -> Result:
        """Ask, and price the result; if the price is unknown, it stays unchanged. Raises ProviderError."""
        result = await self._inner.complete(call, on_text)
        cost = self._cost(call, result) if result.usage.cost_usd is None else None
        return result if cost is None else replace(result, usage=replace(result.usage, cost_usd=cost))

    def _cost(self, call: Call, result: Result) -> float | None:
        asked = self._rates(call.model)
        if asked is FREE:
            return 0.0
        served = self._rates(f"{self._provider}/{result.served_model}") if result.served_model else None
        known = asked if asked is not None and asked.is_configured else served or asked
        return known.cost(result.usage) if known is not None and is_counted(result) else None
