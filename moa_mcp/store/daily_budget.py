"""The daily budget of an owner: reserved before a run starts, and settled at its end. Only values and arithmetic.

The stores keep the numbers. A store makes each reservation and each settlement in one atomic step, so that several
servers together cannot exceed the ceiling. A day is a day in UTC.
"""

from __future__ import annotations

from dataclasses import dataclass

from moa_mcp.domain.errors import PlanRefused
from moa_mcp.domain.spend import Spend

DAY_SECONDS = 86_400

LEASE_SECONDS = 30.0
"""Seconds that a reservation stays after its run's deadline. Then the usage in the journal is booked instead."""


class OverBudget(PlanRefused):
    """The rest of the daily budget has no room for what the run needs. Nothing was sent."""


@dataclass(frozen=True, slots=True)
class ReservationRequest:
    """A run's request for budget: it `needs` this amount, and gets up to `at_most` if the day has room.

    `first` is what the run sends at once; it is booked with the reservation. `cap` is the day's ceiling (None: no
    ceiling). `until` is the time when the run must have ended, in Unix seconds.
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
    """A reservation: `amount` is what the run may use, within the day's ceiling `cap` (None: no ceiling).

    `sent` is the part that is booked as sent: the usage of ended calls, and an estimate for calls that are in flight or
    about to be sent. `id` is new for every reservation.
    """

    id: str
    owner: str
    day: int
    amount: Spend
    cap: Spend | None = None
    sent: Spend = Spend()


def day_of(now: float) -> int:
    """Return the number of the day of a time in Unix seconds."""
    return int(now // DAY_SECONDS)


def grant(request: ReservationRequest, spent: Spend, reserved: Spend) -> Spend:
    """Return what a run gets of a day with this much spent and reserved. Raises OverBudget."""
    if request.cap is None:
        return request.at_most
    left = request.cap.beyond(spent + reserved)
    needs, most = request.needs, request.at_most
    if left.usd < needs.usd or (left.usd <= 0 < most.usd):
        day = _Day("max_cost_usd_per_day", request.cap.usd, spent.usd, reserved.usd, left.usd)
        raise day.refuse(needs.usd) if needs.usd else day.refuse_without_price(most.usd)
    if left.calls < max(needs.calls, 1):
        day = _Day("max_calls_per_day", request.cap.calls, spent.calls, reserved.calls, left.calls)
        raise day.refuse(max(needs.calls, 1))
    if left.tokens < max(needs.tokens, 1):
        day = _Day("max_tokens_per_day", request.cap.tokens, spent.tokens, reserved.tokens, left.tokens)
        raise day.refuse(max(needs.tokens, 1))
    return most.at_most(left)


def enlarged(reservation: DayReservation, amount: Spend, spent: Spend, reserved: Spend) -> Spend:
    """Return the new amount of a reservation that should grow to `amount`: within the day's room, but never smaller.

    `reserved` is the sum of the day's other reservations.
    """
    if reservation.cap is not None:
        amount = amount.at_most(reservation.cap.beyond(spent + reserved))
    return reservation.amount.at_least(amount)


@dataclass(frozen=True, slots=True)
class _Day:
    """One of the day's ceilings: its `key` in the configuration file, its numbers, and what is left."""

    key: str
    cap: float
    spent: float
    reserved: float
    left: float

    def refuse(self, needs: float) -> OverBudget:
        """Make the error for a run that needs this much: why it cannot start, and what to do."""
        return OverBudget(f"The run needs about {self._format(needs)}. {self._state()} {self._advise(needs)}")

    def refuse_without_price(self, ceiling: float) -> OverBudget:
        """Make the error for a run with a model of unknown price: why it cannot start, and what to do."""
        return OverBudget(
            f"The cost of the run is unknown, because the price of a model is unknown; so its ceiling of "
            f"${ceiling:g} is reserved for it. {self._state()} {self._advise(0.0)} With a lower max_cost_usd, each "
            "such run reserves less."
        )

    def _state(self) -> str:
        spent, reserved = self._format(self.spent), self._format(self.reserved)
        of = f"(of {self._format(self.cap)}; {spent} spent, {reserved} reserved by runs that go on)"
        return f"Left for today: {self._format(self.left)} {of}."

    def _advise(self, needs: float) -> str:
        raised = f"raise limits.{self.key} in the configuration file."
        if needs > self.cap:
            return f"Choose a smaller preset, or {raised}"
        if self.reserved and self.spent + needs <= self.cap and self.spent < self.cap:
            return f"Wait for one of these runs to end (what it does not use is given back), or {raised}"
        return f"Choose a smaller preset, wait for tomorrow (UTC), or {raised}"

    def _format(self, number: float) -> str:
        if "usd" in self.key:
            return f"${number:.4f}"
        return f"{number:,} {self.key.split('_')[1]}"
