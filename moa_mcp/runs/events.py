"""The events of a run, as typed values.

The scheduler publishes them to the subscribers of one run (the live view, MCP progress, `Panel.stream`) and to the
subscribers of all runs (notices of changed resources). A subscriber is a function that takes one event.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from moa_mcp.domain.errors import Reason
from moa_mcp.domain.model import Batch, Call, CallRecord, PanelCall, Run

EventHandler = Callable[["Event"], None]
"""A subscriber. It is called at once with each event, in order. It must not block or raise."""


@dataclass(frozen=True, slots=True)
class Event:
    """Base of all events. The run sets `run_id`, `owner` and `time` (Unix seconds) when it publishes an event."""

    run_id: str = field(default="", kw_only=True)
    owner: str = field(default="", kw_only=True)
    time: float = field(default=0.0, kw_only=True, compare=False)

    @property
    def call_id(self) -> str | None:
        """The id of the call of this event; None for an event of the run or of a layer."""
        return None


@dataclass(frozen=True, slots=True)
class RunStarted(Event):
    """A run was accepted, or resumed after an interruption. `run` is its state at that moment."""

    run: Run


@dataclass(frozen=True, slots=True)
class RunQueued(Event):
    """The run is queued: `max_concurrent_runs` other runs are active, and `ahead` runs wait before this one."""

    ahead: int


@dataclass(frozen=True, slots=True)
class RunPlanned(Event):
    """The first event for a subscriber of one run. `calls` is how many calls the run makes if no call fails and it does
    not end early.
    """

    calls: int


@dataclass(frozen=True, slots=True)
class RunEnded(Event):
    """The run ended, with or without an answer. This is its last event; `run` has all records and costs."""

    run: Run


@dataclass(frozen=True, slots=True)
class RunHandedOver(Event):
    """The owner received the answer of this run, so it is now their latest run."""

    run: Run


@dataclass(frozen=True, slots=True)
class BatchStarted(Event):
    """The calls of a batch (usually one layer) are about to be sent."""

    batch: Batch


@dataclass(frozen=True, slots=True)
class StragglersAwaited(Event):
    """A layer has enough drafts. It waits at most `seconds` for these last calls."""

    calls: tuple[Call, ...]
    seconds: float


@dataclass(frozen=True, slots=True)
class StragglersLeft(Event):
    """A layer continued without these calls."""

    calls: tuple[Call, ...]


@dataclass(frozen=True, slots=True)
class CallEvent(Event):
    """Base of the events of one call."""

    call: Call

    @property
    def call_id(self) -> str | None:
        return self.call.id


@dataclass(frozen=True, slots=True)
class CallStarted(CallEvent):
    """A call started."""


@dataclass(frozen=True, slots=True)
class CallQueued(CallEvent):
    """A call is queued: its provider gets at most `max_concurrency` calls at a time."""

    max_concurrency: int


@dataclass(frozen=True, slots=True)
class CallRetried(CallEvent):
    """An attempt failed. The next attempt is in `seconds`; `detail` is the provider's own message, if there is one."""

    seconds: float
    reason: Reason
    detail: str = ""


@dataclass(frozen=True, slots=True)
class CallSent(CallEvent):
    """A call that was queued or waited for a retry is sent now."""


@dataclass(frozen=True, slots=True)
class RouteCooled(CallEvent):
    """The model of the call failed so often that it gets no calls for `seconds`."""

    seconds: float
    reason: Reason


@dataclass(frozen=True, slots=True)
class TextArrived(CallEvent):
    """A piece of the draft's text arrived."""

    piece: str


@dataclass(frozen=True, slots=True)
class _RecordEvent(Event):
    record: CallRecord

    @property
    def call_id(self) -> str | None:
        return self.record.call.id


@dataclass(frozen=True, slots=True)
class CallEnded(_RecordEvent):
    """A call succeeded or failed. `replayed`: the record comes from the journal, so it cost nothing now."""

    replayed: bool = False


@dataclass(frozen=True, slots=True)
class BranchEnded(_RecordEvent):
    """A branch (a flow that runs in place of a call) ended; `record` describes it as one call."""


def stamped(event: Event, run: Run) -> Event:
    """Return the event with the id and owner of `run`, and the current time."""
    return replace(event, run_id=run.run_id, owner=run.owner, time=time.time())


def end_event(record: CallRecord, *, replayed: bool = False) -> CallEnded | BranchEnded:
    """Return the event for the end of a call or of a branch."""
    return BranchEnded(record) if isinstance(record.call, PanelCall) else CallEnded(record, replayed)
