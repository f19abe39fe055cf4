"""Token prices from the table that genai-prices ships. Nothing is fetched; an unknown price stays unknown."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING

from moa_mcp.domain.endpoints import ModelPrice, split_model
from moa_mcp.domain.usage import Usage

if TYPE_CHECKING:
    from genai_prices.types import PriceCalculation

_OTHER_NAMES = {"xai": "x-ai"}
"""Providers that have another name in the table than in moa-mcp."""


@dataclass(frozen=True, slots=True)
class Rates:
    """US dollars per token of a short request. With some models, every token of a long request costs more.

    `longer` pairs a number of input tokens with the rates of requests that have more of them, in rising order. The
    rates for tokens of a prompt cache are those for input where they are None: read from it, stored in it, and stored
    in it for an hour (None: as stored).
    """

    input_per_token: float
    output_per_token: float
    longer: tuple[tuple[int, Rates], ...] = ()
    cached_per_token: float | None = None
    cache_write_per_token: float | None = None
    cache_write_1h_per_token: float | None = None
    is_configured: bool = False

    @classmethod
    def of(cls, price: ModelPrice) -> Rates:
        """The rates that a person configured."""
        read, write = price.cache_read_mtok, price.cache_write_mtok
        return cls(
            price.input_mtok / 1e6,
            price.output_mtok / 1e6,
            cached_per_token=None if read is None else read / 1e6,
            cache_write_per_token=None if write is None else write / 1e6,
            is_configured=True,
        )

    def at(self, input_tokens: int) -> Rates:
        """The rates of a request with this many input tokens."""
        found = self
        for threshold, rates_above in self.longer:
            if input_tokens > threshold:
                found = rates_above
        return found

    def cost_uncached(self, input_tokens: int, output_tokens: int) -> float:
        """The price in US dollars of a request that has no part in a prompt cache."""
        rates = self.at(input_tokens)
        return input_tokens * rates.input_per_token + output_tokens * rates.output_per_token

    def cost(self, used: Usage) -> float:
        """The price of a request in US dollars. A count that is None adds nothing."""
        if not used.cached_tokens and not used.cache_write_tokens:
            return self.cost_uncached(used.input_tokens or 0, used.output_tokens or 0)
        rates = self.at(used.input_tokens or 0)
        fresh = max(0, (used.input_tokens or 0) - used.cached_tokens - used.cache_write_tokens)
        read = _or(rates.cached_per_token, rates.input_per_token)
        stored = _or(rates.cache_write_per_token, rates.input_per_token)
        stored_1h = _or(rates.cache_write_1h_per_token, stored)
        return (
            fresh * rates.input_per_token
            + used.cached_tokens * read
            + (used.cache_write_tokens - used.cache_write_1h_tokens) * stored
            + used.cache_write_1h_tokens * stored_1h
            + (used.output_tokens or 0) * rates.output_per_token
        )


def _or(rate: float | None, otherwise: float) -> float:
    return otherwise if rate is None else rate


FREE = Rates(0.0, 0.0)


def rates(model_id: str) -> Rates | None:
    """The rates of `provider/model` now; None if they are unknown."""
    return _rates_at(model_id, _priced_hour())


@lru_cache(maxsize=1024)
def _rates_at(model_id: str, hour: datetime) -> Rates | None:
    """The rates at `hour`, which must be the current one: it only tells apart what is cached."""
    short = _rates_of(model_id, _SAMPLE)
    if short is None:
        return None
    steps = ((start, _rates_of(model_id, start + _SAMPLE)) for start in _steps(model_id))
    return replace(short, longer=tuple((start, above) for start, above in steps if above is not None))


_SAMPLE = 1000
"""Tokens used to measure a rate: fewer than the first price step of any model, enough to make rounding small."""


def _rates_of(model_id: str, input_tokens: int) -> Rates | None:
    def per_token(*parts: str) -> float:
        found = _find_price(model_id, input_tokens=input_tokens, **dict.fromkeys(parts, input_tokens))
        return float(found.input_price) / input_tokens if found else 0.0

    written = _find_price(model_id, input_tokens=input_tokens, output_tokens=_SAMPLE)
    if written is None:
        return None
    return Rates(
        per_token(),
        float(written.output_price) / _SAMPLE,
        cached_per_token=per_token("cache_read_tokens"),
        cache_write_per_token=per_token("cache_write_tokens"),
        cache_write_1h_per_token=per_token("cache_write_tokens", "cache_write_1h_tokens"),
    )


def _steps(model_id: str) -> list[int]:
    """The numbers of input tokens above which a request to the model costs more."""
    from genai_prices.types import TieredPrices  # imported here for the reason in _find_price

    found = _find_price(model_id, input_tokens=_SAMPLE, output_tokens=_SAMPLE)
    prices = vars(found.model_price).values() if found else ()
    return sorted({tier.start for price in prices if isinstance(price, TieredPrices) for tier in price.tiers})


def _find_price(model_id: str, **tokens: int) -> PriceCalculation | None:
    # Imported for the first price: the table takes 0.2 s to load.
    from genai_prices import Usage as PricedUsage
    from genai_prices import calc_price
    from genai_prices.data_snapshot import get_snapshot

    provider, model = split_model(model_id)
    provider = _OTHER_NAMES.get(provider, provider)
    if provider not in {known.id for known in get_snapshot().providers}:
        return None  # else the table would guess by parts of the name
    try:
        return calc_price(PricedUsage(**tokens), model, provider_id=provider, genai_request_timestamp=_priced_hour())
    except LookupError:
        return None


def _priced_hour() -> datetime:
    """The hour whose prices hold now: some models cost more at certain hours.

    At night it is noon, because the table still has a discount at night that DeepSeek ended in 2025.
    """
    now = datetime.now(UTC)
    return now.replace(hour=now.hour if 1 <= now.hour < 16 else 12, minute=0, second=0, microsecond=0)
