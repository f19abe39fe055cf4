"""Token prices from the table that genai-prices ships. Nothing is fetched; an unknown price stays unknown."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING

from moa_mcp.domain.endpoints import split_model

if TYPE_CHECKING:
    from genai_prices.types import PriceCalculation

_OTHER_NAMES = {"xai": "x-ai"}
"""Providers that have another name in the table than in moa-mcp."""


@dataclass(frozen=True, slots=True)
class Rates:
    """US dollars per token of a short request. With some models, every token of a long request costs more.

    `longer` pairs a number of input tokens with the rates of requests that have more of them, in rising order.
    """

    input_per_token: float
    output_per_token: float
    longer: tuple[tuple[int, Rates], ...] = ()

    def at(self, input_tokens: int) -> Rates:
        """The rates of a request with this many input tokens."""
        found = self
        for threshold, rates_above in self.longer:
            if input_tokens > threshold:
                found = rates_above
        return found


FREE = Rates(0.0, 0.0)


def price(model_id: str, input_tokens: int, output_tokens: int) -> float | None:
    """The price of a call in US dollars; None if it is unknown. `model_id` is `provider/model`."""
    cost = _cost(model_id, input_tokens, output_tokens)
    return None if cost is None else cost[0] + cost[1]


@cache
def rates(model_id: str) -> Rates | None:
    """The rates of `provider/model`; None if they are unknown."""
    short = _rates_of(model_id, _SAMPLE)
    if short is None:
        return None
    steps = ((start, _rates_of(model_id, start + _SAMPLE)) for start in _steps(model_id))
    return replace(short, longer=tuple((start, above) for start, above in steps if above is not None))


_SAMPLE = 1000
"""Tokens used to measure a rate: fewer than the first price step of any model, enough to make rounding small."""


def _rates_of(model_id: str, input_tokens: int) -> Rates | None:
    cost = _cost(model_id, input_tokens, _SAMPLE)
    return None if cost is None else Rates(cost[0] / input_tokens, cost[1] / _SAMPLE)


def _steps(model_id: str) -> list[int]:
    """The numbers of input tokens above which a request to the model costs more."""
    from genai_prices.types import TieredPrices  # imported here for the reason in _find_price

    found = _find_price(model_id, _SAMPLE, _SAMPLE)
    prices = vars(found.model_price).values() if found else ()
    return sorted({tier.start for price in prices if isinstance(price, TieredPrices) for tier in price.tiers})


def _cost(model_id: str, input_tokens: int, output_tokens: int) -> tuple[float, float] | None:
    found = _find_price(model_id, input_tokens, output_tokens)
    return (float(found.input_price), float(found.output_price)) if found else None


def _find_price(model_id: str, input_tokens: int, output_tokens: int) -> PriceCalculation | None:
    # Imported for the first price: the table takes 0.2 s to load.
    from genai_prices import Usage, calc_price
    from genai_prices.data_snapshot import get_snapshot

    provider, model = split_model(model_id)
    provider = _OTHER_NAMES.get(provider, provider)
    if provider not in {known.id for known in get_snapshot().providers}:
        return None  # else the table would guess by parts of the name
    try:
        return calc_price(Usage(input_tokens=input_tokens, output_tokens=output_tokens), model, provider_id=provider)
    except LookupError:
        return None
