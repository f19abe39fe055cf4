"""The state of every call of a run, updated from the run's events. `live.py` draws it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

from moa_mcp.domain.model import Call, CallRecord, Failure
from moa_mcp.runs.events import BatchStarted, BranchEnded, CallEnded, CallStarted, Event, TextArrived
from moa_mcp.runs.waits import Waits

CHARS_PER_TOKEN = 4
"""An estimate for text that is still arriving. The provider's own count replaces it when the call ends."""

State = Literal["waiting", "asked", "writing", "ok", "cut", "failed", "cancelled", "refused"]


@dataclass(slots=True)
class Row:
    """One call. `started` is a time of the table's clock, `chars` counts the characters that have arrived."""

    call: Call
    started: float | None = None
    chars: int = 0
    record: CallRecord | None = None

    @property
    def state(self) -> State:
        if self.record is not None:
            return self.record.status
        if self.started is None:
            return "waiting"
        return "writing" if self.chars else "asked"

    def seconds(self, now: float) -> float | None:
        """How long the call took, or has taken until `now`; None if it was not sent yet."""
        if self.record is not None:
            return self.record.seconds
        return None if self.started is None else now - self.started

    @property
    def tokens(self) -> tuple[int, bool]:
        """The number of tokens it wrote, and whether the provider counted them."""
        usage = self.record.outcome.usage if self.record else None
        if usage and usage.output_tokens is not None:
            return usage.output_tokens, not usage.estimated
        return self.chars // CHARS_PER_TOKEN, False

    @property
    def cost_usd(self) -> float | None:
        return self.record.outcome.usage.cost_usd if self.record else None


class ProgressTable:
    """Keeps a row for each call, from the events of the run. `clock` returns seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._rows: dict[str, Row] = {}
        self.waits = Waits(clock)

    @property
    def rows(self) -> Sequence[Row]:
        """All rows in the order of the plan. The calls of a nested panel follow the row of its slot."""
        order = {call_id: number for number, call_id in enumerate(self._rows)}
        return sorted(self._rows.values(), key=lambda row: order[(*row.call.branches, row.call.id)[0]])

    @property
    def layers(self) -> list[tuple[int, list[Row]]]:
        """The rows of each layer, in the order in which the layers began."""
        return [(layer, list(rows)) for layer, rows in groupby(self.rows, key=lambda row: row.call.layer)]

    def on_event(self, event: Event) -> None:
        """Update the rows from an event."""
        self.waits.on_event(event)
        match event:
            case BatchStarted(batch):
                for call in batch.calls:
                    self._row(call)
                for branch in batch.branches:
                    self._row(branch.call).started = self._clock()
            case CallStarted(call):
                self._row(call).started = self._clock()
            case TextArrived(call, piece):
                self._row(call).chars += len(piece)
            case CallEnded(record) | BranchEnded(record):
                self._row(record.call).record = record
            case _:
                pass

    def _row(self, call: Call) -> Row:
        return self._rows.setdefault(call.id, Row(call))


def drafts(rows: Iterable[Row]) -> int:
    """How many of the calls ended with a draft."""
    return sum(row.record is not None and not isinstance(row.record.outcome, Failure) for row in rows)
