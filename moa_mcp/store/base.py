"""The interface of a run store. Every method that reads takes the owner, so no caller can read another owner's runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from moa_mcp.domain.model import CallRecord, Run
from moa_mcp.domain.spend import Spend
from moa_mcp.store.daily_budget import DayReservation, ReservationRequest


@dataclass(frozen=True, slots=True)
class AdmittedRun:
    """A stored run that may start. `reservation` is its part of the owner's daily budget."""

    run: Run
    reservation: DayReservation


@dataclass(frozen=True, slots=True)
class Faults:
    """What a store declares about its errors: those of `types` mean that it is out of order, not that a call is wrong.

    `is_damage` says whether an error means that its data are lost, so that it has to begin anew.
    """

    types: tuple[type[Exception], ...]
    is_damage: Callable[[Exception], bool] = lambda error: False


CANCELLED = "The run was cancelled."

GOES_ON = (
    "It goes on where it stopped when the same is asked within ten minutes, or moa_ask is called with its run_id; "
    "what it has is not paid for again."
)
"""Part of the error text of every interrupted run."""


def dates_since(since: float, now: float) -> tuple[float, float]:
    """Return the first and last start date of the runs that count as started at `since` or later (Unix seconds).

    The last date is as far after `now` as `since` is before it: a clock may have been set back a little, but a date
    that is further ahead comes from a wrong clock.
    """
    return since, now + (now - since)


REUSABLE = frozenset({"completed", "running", "interrupted"})
"""The states in which a run can be reused: the same question gets this run, and is not paid for again."""


class RunStore(Protocol):
    """Stores runs, the journals of their calls, and the daily spending of their owners.

    A `running` run belongs to the server that started it. When that server is gone, the run reads as `interrupted`,
    and another server may claim it.

    The newest run is the one that was admitted last; its date does not count, because a clock may be wrong. The latest
    run is the one that was last started, resumed or handed over to its owner.
    """

    async def admit(self, run: Run, wanted: ReservationRequest, since: float | None = None) -> AdmittedRun | Run:
        """Store a run that is about to start, and reserve its budget: both or neither.

        If `find` with `since` (Unix seconds; None: do not look) has a run that can be reused, return that run instead.
        If several servers admit the same question at once, only one of them starts it.

        Raises:
            OverBudget: the daily budget of the owner has no room for what the run needs.
        """
        ...

    async def add_records(self, run_id: str, records: Sequence[CallRecord]) -> bool:
        """Add finished calls and branches to a run's journal, all or none. They are safe once this returns.

        Returns False, and adds nothing, if another server has taken over the run because this one sent no heartbeat.
        """
        ...

    async def write_ahead(
        self, run_id: str, records: Sequence[CallRecord], reservation: DayReservation, amount: Spend
    ) -> DayReservation | None:
        """As `add_records`, and book `reservation.sent` before the calls are sent, and let the reservation grow to
        `amount`: all or none.

        Returns the reservation, which grows as far as the day has room; None if another server has taken over the run.
        If the server dies, at least `reservation.sent` stays booked, up to the reserved amount.
        """
        ...

    async def finish(self, run: Run) -> None:
        """Store how a run ended, unless another server has taken it over."""
        ...

    async def cancel(self, owner: str, run_id: str) -> None:
        """Mark an interrupted run as cancelled, so that it is not resumed. Other runs stay as they are."""
        ...

    async def claim(self, owner: str, run_id: str, wanted: ReservationRequest) -> AdmittedRun | None:
        """Take over an interrupted run with its journal, and reserve budget for the rest of it.

        Returns None if there is no such run or it is not interrupted. Raises OverBudget as `admit` does; then the run
        stays interrupted.
        """
        ...

    async def get(self, owner: str, run_id: str) -> Run | None:
        """Return the owner's run with that id; None if the id is unknown or belongs to another owner."""
        ...

    async def find(self, owner: str, key: str, since: float) -> Run | None:
        """Return the newest run with that key that started at `since` or later, if its state is in `REUSABLE`."""
        ...

    async def latest(self, owner: str) -> Run | None:
        """Return the owner's latest run."""
        ...

    async def make_latest(self, owner: str, run_id: str) -> None:
        """Make a run its owner's latest, because its answer was handed over. An unknown id is ignored."""
        ...

    async def list(self, owner: str, limit: int = 50) -> Sequence[Run]:
        """Return the owner's runs, newest first."""
        ...

    async def count(self, owner: str) -> int:
        """Return the number of the owner's runs."""
        ...

    async def remove(self, owner: str, run_id: str) -> bool:
        """Delete a run. Returns False if the owner has no run with that id."""
        ...

    async def prune(self) -> int:
        """Delete the runs that exceed the store's limits of age and size. Returns how many were deleted."""
        ...

    async def settle(self, reservation: DayReservation, actual: Spend) -> None:
        """Book the actual usage of a run, and release its reservation. A second call changes nothing."""
        ...

    async def spent(self, owner: str) -> Spend:
        """Return what the owner has spent today, without reservations."""
        ...

    async def heartbeat(self) -> None:
        """Show the other servers on the same store that this one is alive."""
        ...

    async def aclose(self) -> None:
        """Close the store."""
        ...

    def warnings(self, owner: str | None = None) -> Sequence[str]:
        """Return why runs are not stored as expected, oldest first: for `owner`, or for all owners if None."""
        ...
