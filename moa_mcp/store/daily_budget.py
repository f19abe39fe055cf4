"""What an owner may spend in a day: reserved before a run starts, settled by what it came to. Values and sums only.

The stores keep the numbers; each does the whole of a reservation, and the whole of a settlement, at once, so that
servers side by side cannot together pass the ceiling. A day is a day in UTC.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from moa_mcp.domain.errors import PlanRefused
from moa_mcp.domain.spend import Spend

DAY_SECONDS = 86_400

LEASE_SECONDS = 30.0
"""How much longer than its run's deadline a reservation holds; after that it is booked as what the journal says."""


class OverBudget(PlanRefused):
    """What a run needs does not fit into what the day has left; nothing was sent."""


@dataclass(frozen=True, slots=True)
class ReservationRequest:
    """What a run asks of its owner's day: it `needs` so much, and gets up to `at_most` if there is that much.

    `first` is what it sends at once, which is booked with the reservation. `cap` is the day's ceiling (None: none).
    `until` is when the run must be over, in Unix seconds.
    """

    owner: str
    run_id: str
    needs: Spend
    at_most: Spend
    cap: Spend | None
    until: float
    first: Spend = Spend()


@dataclass(frozen=True, slots=True)
class DayReservation:
    """A reservation: `amount` is what the run may come to, within the day's ceiling `cap` (None: none).

    `sent` is what is booked of it as sent: what its calls came to, and those under way or about to be at an
    estimate. `id` is new with every reservation.
    """

    id: str
    owner: str
    day: int
    amount: Spend
    cap: Spend | None = None
    sent: Spend = Spend()


class DailyBudget(Protocol):
    """Keeps what each owner has spent and reserved of a day.

    A reservation is part of a run's admission, and grows with its journal (base.py).
    """

    async def settle(self, reservation: DayReservation, actual: Spend) -> None:
        """Book what a run came to, and give the rest of its hold back. A second time it changes nothing."""
        ...

    async def spent(self, owner: str) -> Spend:
        """What the owner has spent today, without what is reserved."""
        ...


def day_of(now: float) -> int:
    """The number of the day that a time (Unix seconds) is in."""
    return int(now // DAY_SECONDS)


def grant(request: ReservationRequest, spent: Spend, reserved: Spend) -> Spend:
    """What a run gets of a day of which so much is spent and reserved. Raises OverBudget."""
    if request.cap is None:
        return request.at_most
    left = request.cap.beyond(spent + reserved)
    needs, most = request.needs, request.at_most
    if left.usd < needs.usd or (left.usd <= 0 < most.usd):
        day = _Day("max_cost_usd_per_day", request.cap.usd, spent.usd, reserved.usd, left.usd)
        raise day.refused(needs.usd) if needs.usd else day.refused_without_price(most.usd)
    if left.calls < max(needs.calls, 1):
        day = _Day("max_calls_per_day", request.cap.calls, spent.calls, reserved.calls, left.calls)
        raise day.refused(max(needs.calls, 1))
    if left.tokens < max(needs.tokens, 1):
        day = _Day("max_tokens_per_day", request.cap.tokens, spent.tokens, reserved.tokens, left.tokens)
        raise day.refused(max(needs.tokens, 1))
    return most.at_most(left)


def enlarged(reservation: DayReservation, amount: Spend, spent: Spend, reserved: Spend) -> Spend:
    """What a hold comes to that is to grow to `amount`: no more than the day has room for, and no less than it was.

    `reserved` is what the other holds of the day come to.
    """
    if reservation.cap is not None:
        amount = amount.at_most(reservation.cap.beyond(spent + reserved))
    return reservation.amount.at_least(amount)


@dataclass(frozen=True, slots=True)
class _Day:
    """One of a day's ceilings, named by its `key` in the configuration file, and what is left of it."""

    key: str
    cap: float
    spent: float
    reserved: float
    left: float

    def refused(self, needs: float) -> OverBudget:
        """Why a run that needs so much cannot begin, and what helps."""
        return OverBudget(f"The run needs about {self._told(needs)}. {self._state()} {self._way_out(needs)}")

    def refused_without_price(self, ceiling: float) -> OverBudget:
        """Why a run of models without a known price cannot begin, and what helps."""
        return OverBudget(
            f"What the run will cost is not known, because the price of a model is not; so up to its ceiling of "
            f"${ceiling:g} is set aside for it. {self._state()} {self._way_out(0.0)} A lower max_cost_usd lets each "
            "such run set less aside."
        )

    def _state(self) -> str:
        spent, reserved = self._told(self.spent), self._told(self.reserved)
        of = f"(of {self._told(self.cap)}; {spent} spent, {reserved} reserved by runs that go on)"
        return f"Left for today: {self._told(self.left)} {of}."

    def _way_out(self, needs: float) -> str:
        raised = f"raise limits.{self.key} in the configuration file."
        if needs > self.cap:
            return f"Choose a smaller preset, or {raised}"
        if self.reserved and self.spent + needs <= self.cap and self.spent < self.cap:
            return f"Wait for one of these runs to end (what it does not use is given back), or {raised}"
        return f"Choose a smaller preset, wait for tomorrow (UTC), or {raised}"

    def _told(self, number: float) -> str:
        if "usd" in self.key:
            return f"${number:.4f}"
        return f"{number:,} {self.key.split('_')[1]}"
