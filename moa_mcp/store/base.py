"""What a store of runs can do. Every method that reads is told the owner: nobody can reach another's runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from moa_mcp.domain.model import CallRecord, Run
from moa_mcp.domain.spend import Spend
from moa_mcp.store.daily_budget import DailyBudget, DayReservation, ReservationRequest


@dataclass(frozen=True, slots=True)
class AdmittedRun:
    """A run that is written down and may start: `reservation` is what is set aside for it of its owner's day."""

    run: Run
    reservation: DayReservation


CANCELLED = "The run was cancelled."

GOES_ON = (
    "It goes on where it stopped when the same is asked within ten minutes, or moa_ask is called with its run_id; "
    "what it has is not paid for again."
)
"""What is said of every interrupted run."""


def dates_since(since: float, now: float) -> tuple[float, float]:
    """Between which dates a run must have begun to count as begun at `since` or later; all in Unix seconds.

    As far ahead of now as back: a clock may be set back a little, but one that was far ahead dates nothing.
    """
    return since, now + (now - since)


REUSABLE = frozenset({"completed", "running", "interrupted"})
"""The states of a run that stands for its question: asked again, it is collected and not paid for anew."""


class RunStore(DailyBudget, Protocol):
    """Keeps runs and the journals of their calls, and what their owners spend in a day.

    A run that is `running` belongs to the server that began it; once that server is gone it reads as
    `interrupted`, and another may claim it.

    The newest run is the one that was begun last, in the order in which the store took them in: the clock that dates
    a run may be wrong. The latest run is the one that was begun, resumed or given to its owner last.
    """

    async def admit(self, run: Run, wanted: ReservationRequest, since: float | None = None) -> AdmittedRun | Run:
        """Write down a run that is about to start, and set aside what it may come to: both, or neither.

        Or return the run that stands for it already, as `find` has it with `since` (Unix seconds; None: none
        does). Of servers that admit the same at once, one starts it.

        Raises:
            OverBudget: what the run needs does not fit into its owner's day.
        """
        ...

    async def add_records(self, run_id: str, records: Sequence[CallRecord]) -> bool:
        """Add finished calls and branches to a run's journal, all or none; they are safe once this returns.

        False, and nothing is added, if the run is another server's by now: this one was silent for too long.
        """
        ...

    async def write_ahead(
        self, run_id: str, records: Sequence[CallRecord], reservation: DayReservation, amount: Spend
    ) -> DayReservation | None:
        """As `add_records`; and book `reservation.sent` before it is sent, in a hold that grows to `amount`: all or
        none.

        Returns the hold, which has grown as far as the day has room; None if the run is another server's by now.
        A server that dies leaves at least `reservation.sent` booked, as far as that is within the hold.
        """
        ...

    async def finish(self, run: Run) -> None:
        """Write down how a run ended, unless it is another server's by now."""
        ...

    async def cancel(self, owner: str, run_id: str) -> None:
        """Let an interrupted run be a cancelled one, which nobody goes on with; any other stays as it is."""
        ...

    async def claim(self, owner: str, run_id: str, wanted: ReservationRequest) -> AdmittedRun | None:
        """Take over an interrupted run, with its journal, and set aside what it may still come to.

        None if it is not there or not interrupted. Raises OverBudget as `admit` does; it stays interrupted then.
        """
        ...

    async def get(self, owner: str, run_id: str) -> Run | None:
        """The run of that id, if it is the owner's; None for an unknown and for a foreign one."""
        ...

    async def find(self, owner: str, key: str, since: float) -> Run | None:
        """The run that stands for a key: the newest that began at `since` or later, if it has not failed."""
        ...

    async def latest(self, owner: str) -> Run | None:
        """The owner's latest run."""
        ...

    async def make_latest(self, owner: str, run_id: str) -> None:
        """Let a run be its owner's latest: they are given its answer. Nothing happens if they have none of that id."""
        ...

    async def list(self, owner: str, limit: int = 50) -> Sequence[Run]:
        """The owner's runs, newest first."""
        ...

    async def count(self, owner: str) -> int:
        """How many runs of the owner there are."""
        ...

    async def remove(self, owner: str, run_id: str) -> bool:
        """Forget a run; False if the owner has none of that id."""
        ...

    async def prune(self) -> int:
        """Forget what is older or more than the store is to keep; returns how many runs went."""
        ...

    async def heartbeat(self) -> None:
        """Tell the other servers on the same store that this one is alive."""
        ...

    async def aclose(self) -> None:
        """Let go of what the store holds open."""
        ...

    def warnings(self, owner: str | None = None) -> Sequence[str]:
        """Why runs are not kept as they should be, oldest first: what concerns `owner`, or anybody if None."""
        ...
