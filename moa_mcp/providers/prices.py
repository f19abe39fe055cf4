"""What tokens cost, by the table that genai-prices ships: nothing is fetched, unknown stays unknown."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING

from moa_mcp.domain.endpoints import split_model

if TYPE_CHECKING:
    from genai_prices.types import PriceCalculation

_OTHER_NAMES = {"xai": "x-ai"}
"""Providers that the table knows by another name than ours."""


@dataclass(frozen=True, slots=True)
class Rates:
    """US dollars per token of a short request. Of some models, long ones cost more, with every token of theirs.

    `longer` are the rates of requests with more input tokens than the number beside them, in rising order.
    """

    input_per_token: float
    output_per_token: float
    longer: tuple[tuple[int, Rates], ...] = ()

    def at(self, input_tokens: int) -> Rates:
        """The rates of a request with so many input tokens."""
        held = self
        for beyond, rates_there in self.longer:
            if input_tokens > beyond:
                held = rates_there
        return held


FREE = Rates(0.0, 0.0)


def price(model_id: str, input_tokens: int, output_tokens: int) -> float | None:
    """The price of a call in US dollars, or None if it is not known. `model_id` is `provider/model`."""
    cost = _cost(model_id, input_tokens, output_tokens)
    return None if cost is None else cost[0] + cost[1]


@cache
def rates(model_id: str) -> Rates | None:
    """What a token of `provider/model` costs, or None if it is not known."""
    short = _rates_of(model_id, _SAMPLE)
    if short is None:
        return None
    steps = ((start, _rates_of(model_id, start + _SAMPLE)) for start in _steps(model_id))
    return replace(short, longer=tuple((start, held) for start, held in steps if held is not None))


_SAMPLE = 1000
"""Tokens by which a rate is measured: fewer than any table's first step, more than any rounding."""


def _rates_of(model_id: str, input_tokens: int) -> Rates | None:
    cost = _cost(model_id, input_tokens, _SAMPLE)
    return None if cost is None else Rates(cost[0] / input_tokens, cost[1] / _SAMPLE)


def _steps(model_id: str) -> list[int]:
    """The numbers of input tokens beyond which a request of the model costs more."""
    from genai_prices.types import TieredPrices  # as below

    found = _found(model_id, _SAMPLE, _SAMPLE)
    prices = vars(found.model_price).values() if found else ()
    return sorted({tier.start for price in prices if isinstance(price, TieredPrices) for tier in price.tiers})


def _cost(model_id: str, input_tokens: int, output_tokens: int) -> tuple[float, float] | None:
    found = _found(model_id, input_tokens, output_tokens)
    return (float(found.input_price), float(found.output_price)) if found else None


def _found(model_id: str, input_tokens: int, output_tokens: int) -> PriceCalculation | None:
    # Imported for the first price only: the table takes 0.2 s to load.
    from genai_prices import Usage, calc_price
    from genai_prices.data_snapshot import get_snapshot

    provider, model = split_model(model_id)
    provider = _OTHER_NAMES.get(provider, provider)
    if provider not in {known.id for known in get_snapshot().providers}:
        return None  # the table would go on to guess by parts of the name
    try:
        return calc_price(Usage(input_tokens=input_tokens, output_tokens=output_tokens), model, provider_id=provider)
    except LookupError:
        return None
