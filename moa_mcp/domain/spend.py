"""Calls, tokens and US dollars together: what a run needs, reserves or has spent. Values and sums only."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from moa_mcp.domain.model import CallRecord

DUST = 1e-9
"""The rounding error in US dollars between two sums of the same prices."""


@dataclass(frozen=True, slots=True)
class Spend:
    """Calls, tokens and US dollars. A call with an unknown price adds its call and tokens, and 0 dollars."""

    calls: int = 0
    tokens: int = 0
    usd: float = 0.0

    @classmethod
    def on(cls, records: Iterable[CallRecord]) -> Spend:
        """Add up finished calls."""
        total = cls()
        for record in records:
            total += cls(record.attempts, record.outcome.usage.tokens, record.outcome.usage.cost_usd or 0.0)
        return total

    def __add__(self, other: Spend) -> Spend:
        return Spend(self.calls + other.calls, self.tokens + other.tokens, self.usd + other.usd)

    def beyond(self, booked: Spend) -> Spend:
        """Return the part of each number that exceeds `booked`."""
        calls, tokens = self.calls - booked.calls, self.tokens - booked.tokens
        return Spend(max(0, calls), max(0, tokens), max(0.0, self.usd - booked.usd))

    def at_least(self, other: Spend) -> Spend:
        """Return the larger of each pair of numbers."""
        return Spend(max(self.calls, other.calls), max(self.tokens, other.tokens), max(self.usd, other.usd))

    def at_most(self, other: Spend) -> Spend:
        """Return the smaller of each pair of numbers."""
        return Spend(min(self.calls, other.calls), min(self.tokens, other.tokens), min(self.usd, other.usd))

    def covers(self, other: Spend) -> bool:
        """Whether no number of `other` is larger, apart from rounding errors in dollars."""
        fits = self.calls >= other.calls and self.tokens >= other.tokens
        return fits and self.usd >= other.usd - DUST
