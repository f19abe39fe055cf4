"""What tokens cost, by the table that genai-prices ships: nothing is fetched, unknown stays unknown."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from moa_mcp.endpoints import split_model

_OTHER_NAMES = {"xai": "x-ai"}
"""Providers that the table knows by another name than ours."""


@dataclass(frozen=True, slots=True)
class Rates:
    """US dollars per token, as they are for a short request: of some models, long ones cost more."""

    input_per_token: float
    output_per_token: float


FREE = Rates(0.0, 0.0)


def price(model_id: str, input_tokens: int, output_tokens: int) -> float | None:
    """The price of a call in US dollars, or None if it is not known. `model_id` is `provider/model`."""
    cost = _cost(model_id, input_tokens, output_tokens)
    return None if cost is None else cost[0] + cost[1]


@cache
def rates(model_id: str) -> Rates | None:
    """What a token of `provider/model` costs, or None if it is not known."""
    cost = _cost(model_id, _SAMPLE, _SAMPLE)
    return None if cost is None else Rates(cost[0] / _SAMPLE, cost[1] / _SAMPLE)


_SAMPLE = 1000
"""Tokens by which a rate is measured: fewer than any table's first step, more than any rounding."""


def _cost(model_id: str, input_tokens: int, output_tokens: int) -> tuple[float, float] | None:
    # Imported for the first price only: the table takes 0.2 s to load.
    from genai_prices import Usage, calc_price
    from genai_prices.data_snapshot import get_snapshot

    provider, model = split_model(model_id)
    provider = _OTHER_NAMES.get(provider, provider)
    if provider not in {known.id for known in get_snapshot().providers}:
        return None  # the table would go on to guess by parts of the name
    try:
        cost = calc_price(Usage(input_tokens=input_tokens, output_tokens=output_tokens), model, provider_id=provider)
    except LookupError:
        return None
    return float(cost.input_price), float(cost.output_price)
