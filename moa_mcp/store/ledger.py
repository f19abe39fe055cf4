"""What an owner may spend in a day: reserved before a run starts, settled by what it came to. Values and sums only.

The stores keep the numbers; each does the whole of a reservation, and the whole of a settlement, at once, so that
servers side by side cannot together pass the ceiling. A day is a day in UTC.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from moa_mcp.errors import PlanRefused
from moa_mcp.model import CallRecord
from moa_mcp.preset import Limits

DAY_SECONDS = 86_400

LEASE_SECONDS = 30.0
"""How much longer than its run's deadline a reservation holds; after that it is booked as what the journal says."""


class OverBudget(PlanRefused):
    """What a run needs does not fit into what the day has left; nothing was sent."""


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
            sent = record.call.kind not in {"code", "panel"}
            total += cls(int(sent) * (1 + record.outcome.retries), tokens, usage.cost_usd or 0.0)
        return total

    def __add__(self, other: Spend) -> Spend:
        return Spend(self.calls + other.calls, self.tokens + other.tokens, self.usd + other.usd)

    def limits(self, limits: Limits) -> Limits:
        """The limits of a run that has so much to spend; one without dollars has free models and needs no ceiling."""
        return limits.lowered_by(Limits(max_calls=self.calls, max_tokens=self.tokens, max_cost_usd=self.usd or None))

    def beyond(self, booked: Spend) -> Spend:
        """What of this is not in `booked` yet."""
        calls, tokens = self.calls - booked.calls, self.tokens - booked.tokens
        return Spend(max(0, calls), max(0, tokens), max(0.0, self.usd - booked.usd))


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a run asks of its owner's day: it `needs` so much, and gets up to `at_most` if there is that much.

    `cap` is the day's ceiling (None: none). `until` is when the run must be over, in Unix seconds.
    """

    owner: str
    run_id: str
    needs: Spend
    at_most: Spend
    cap: Spend | None
    until: float


@dataclass(frozen=True, slots=True)
class Hold:
    """A reservation: `amount` is what the run may come to. `id` is new with every reservation."""

    id: str
    owner: str
    day: int
    amount: Spend


class DayLedger(Protocol):
    """Keeps what each owner has spent and reserved of a day. A reservation is part of a run's admission (base.py)."""

    async def settle(self, hold: Hold, actual: Spend) -> None:
        """Book what a run came to, and give the rest of its hold back. A second time it changes nothing."""
        ...

    async def spent(self, owner: str) -> Spend:
        """What the owner has spent today, without what is reserved."""
        ...


def day_of(now: float) -> int:
    """The number of the day that a time (Unix seconds) is in."""
    return int(now // DAY_SECONDS)


def granted(wanted: Wanted, spent: Spend, reserved: Spend) -> Spend:
    """What a run gets of a day of which so much is spent and reserved. Raises OverBudget."""
    if wanted.cap is None:
        return wanted.at_most
    left = wanted.cap.beyond(spent + reserved)
    needs = wanted.needs
    if left.usd < needs.usd or (left.usd <= 0 < wanted.at_most.usd):
        parts = (needs.usd, wanted.cap.usd, spent.usd, reserved.usd, left.usd)
        raise _over("max_cost_usd_per_day", *(f"${number:.4f}" for number in parts))
    if left.calls < max(needs.calls, 1):
        parts = (needs.calls, wanted.cap.calls, spent.calls, reserved.calls, left.calls)
        raise _over("max_calls_per_day", *(f"{number:,} calls" for number in parts))
    if left.tokens < max(needs.tokens, 1):
        parts = (needs.tokens, wanted.cap.tokens, spent.tokens, reserved.tokens, left.tokens)
        raise _over("max_tokens_per_day", *(f"{number:,} tokens" for number in parts))
    most = wanted.at_most
    return Spend(min(most.calls, left.calls), min(most.tokens, left.tokens), min(most.usd, left.usd))


def _over(key: str, needs: str, cap: str, spent: str, reserved: str, left: str) -> OverBudget:
    return OverBudget(
        f"The run needs about {needs}. Left for today: {left} (of {cap}; {spent} spent, {reserved} reserved by runs "
        "that go on). Choose a smaller preset, wait for tomorrow (UTC), or raise "
        f"limits.{key} in the configuration file."
    )
