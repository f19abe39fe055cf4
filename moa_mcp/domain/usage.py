"""What one call used and cost."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens and price of a call. None means unknown, never zero. `estimated`: not the provider's own count.

    `input_tokens` counts the whole prompt, also what a prompt cache served or stored. `output_tokens` counts all that
    the model wrote, also hidden thoughts. `attempts` is the number of requests sent for the call. The numbers include
    all of them. 0: none was sent.

    The other counts are parts of these totals, and 0 if the provider reported none: `cached_tokens` were read from a
    prompt cache, `cache_write_tokens` were stored in one (`cache_write_1h_tokens` of them for an hour), and
    `reasoning_tokens` were thoughts.
    """

    input_tokens: int | None = None
    output_tokens: int | None = None
    cost_usd: float | None = None
    estimated: bool = False
    attempts: int = 1
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    cache_write_1h_tokens: int = 0
    reasoning_tokens: int = 0

    @property
    def retries(self) -> int:
        """The requests after the first."""
        return max(0, self.attempts - 1)

    @property
    def tokens(self) -> int:
        """Input and output together; an unknown count adds 0."""
        return (self.input_tokens or 0) + (self.output_tokens or 0)

    @property
    def is_billed(self) -> bool:
        """Whether a model was reached: a count or a price is known, even if only as an estimate."""
        return self.input_tokens is not None or self.output_tokens is not None or self.cost_usd is not None

    def __add__(self, other: Usage) -> Usage:
        """Add the usage of another request. One that reached no model adds only its attempts.

        One unknown price makes the sum unknown.
        """
        attempts = self.attempts + other.attempts
        if not (self.is_billed and other.is_billed):
            return replace(other if other.is_billed else self, attempts=attempts)
        prices = (self.cost_usd, other.cost_usd)
        return Usage(
            (self.input_tokens or 0) + (other.input_tokens or 0),
            (self.output_tokens or 0) + (other.output_tokens or 0),
            None if None in prices else sum(price or 0.0 for price in prices),
            self.estimated or other.estimated,
            attempts,
            self.cached_tokens + other.cached_tokens,
            self.cache_write_tokens + other.cache_write_tokens,
            self.cache_write_1h_tokens + other.cache_write_1h_tokens,
            self.reasoning_tokens + other.reasoning_tokens,
        )


NOT_SENT = Usage(attempts=0)
"""The usage of a call that no request was sent for."""
