"""Calls, tokens and US dollars together: what a run needs, holds, or came to. Values and sums only."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from moa_mcp.domain.model import CallRecord

DUST = 1e-9
"""US dollars by which two sums of the same prices may differ."""


@dataclass(frozen=True, slots=True)
class Spend:
    """Calls, tokens and US dollars. A call whose price is unknown counts as a call and as tokens, for no dollars."""

    calls: int = 0
    tokens: int = 0
    usd: float = 0.0

    @classmethod
    def on(cls, records: Iterable[CallRecord]) -> Spend:
        """What finished calls came to."""
        total = cls()
        for record in records:
            usage = record.outcome.usage
            tokens = (usage.input_tokens or 0) + (usage.output_tokens or 0)
            total += cls(record.attempts, tokens, usage.cost_usd or 0.0)
        return total

    def __add__(self, other: Spend) -> Spend:
        return Spend(self.calls + other.calls, self.tokens + other.tokens, self.usd + other.usd)

    def beyond(self, booked: Spend) -> Spend:
        """What of this is not in `booked` yet."""
        calls, tokens = self.calls - booked.calls, self.tokens - booked.tokens
        return Spend(max(0, calls), max(0, tokens), max(0.0, self.usd - booked.usd))

    def at_least(self, other: Spend) -> Spend:
        """Of each number the larger one."""
        return Spend(max(self.calls, other.calls), max(self.tokens, other.tokens), max(self.usd, other.usd))

    def at_most(self, other: Spend) -> Spend:
        """Of each number the smaller one."""
        return Spend(min(self.calls, other.calls), min(self.tokens, other.tokens), min(self.usd, other.usd))

    def covers(self, other: Spend) -> bool:
        """Whether no number of `other` is larger, but for the dust of sums."""
        fits = self.calls >= other.calls and self.tokens >= other.tokens
        return fits and self.usd >= other.usd - DUST
