"""What happens in a run, as typed values: the one stream that everybody who watches runs subscribes to.

The scheduler publishes it: to those who watch one run (the live view, MCP progress, `Panel.stream`) and to those who
watch all of them (notices of changed resources). A subscriber is a function of one event.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from moa_mcp.domain.errors import Reason
from moa_mcp.domain.model import Batch, Call, CallRecord, PanelCall, Run

EventHandler = Callable[["Event"], None]
"""A subscriber: called with each event at once, in the order in which they happen. It must not block or raise."""


@dataclass(frozen=True, slots=True)
class Event:
    """Base of all events. The run sets `run_id`, `owner` and `time` (Unix seconds) when it publishes one."""

    run_id: str = field(default="", kw_only=True)
    owner: str = field(default="", kw_only=True)
    time: float = field(default=0.0, kw_only=True, compare=False)

    @property
    def call_id(self) -> str | None:
        """The id of the call that it is about; None where it is about the run or a layer."""
        return None


@dataclass(frozen=True, slots=True)
class RunStarted(Event):
    """A run was accepted, or goes on after it was interrupted. `run` is its state at that moment."""

    run: Run


@dataclass(frozen=True, slots=True)
class RunQueued(Event):
    """The run waits for its turn: `max_concurrent_runs` others go on, and `ahead` more wait before it."""

    ahead: int


@dataclass(frozen=True, slots=True)
class RunPlanned(Event):
    """The first event that a subscriber to one run gets: how many calls it needs if nothing fails or ends it early."""

    calls: int


@dataclass(frozen=True, slots=True)
class RunEnded(Event):
    """The run ended, with or without an answer. The last event; `run` has everything it made and cost."""

    run: Run


@dataclass(frozen=True, slots=True)
class RunHandedOver(Event):
    """The owner was given the answer of a run, so that it is their latest one."""

    run: Run


@dataclass(frozen=True, slots=True)
class BatchStarted(Event):
    """The calls of a batch (those of one layer, as a rule) are about to be sent."""

    batch: Batch


@dataclass(frozen=True, slots=True)
class StragglersAwaited(Event):
    """A layer has enough drafts. It waits for these last calls, for `seconds` at most."""

    calls: tuple[Call, ...]
    seconds: float


@dataclass(frozen=True, slots=True)
class StragglersLeft(Event):
    """A layer went on without these calls."""

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
    """A call begins."""


@dataclass(frozen=True, slots=True)
class CallQueued(CallEvent):
    """A call waits for its turn: its provider is sent `max_concurrency` calls at a time."""

    max_concurrency: int


@dataclass(frozen=True, slots=True)
class CallRetried(CallEvent):
    """A try of a call failed. It is tried again in `seconds`; `detail` is the provider's own line, if it gave one."""

    seconds: float
    reason: Reason
    detail: str = ""


@dataclass(frozen=True, slots=True)
class CallSent(CallEvent):
    """A call that waited, for its turn or for its next try, is sent now."""


@dataclass(frozen=True, slots=True)
class RouteCooled(CallEvent):
    """The call's model failed so often that no call is sent to it for `seconds`."""

    seconds: float
    reason: Reason


@dataclass(frozen=True, slots=True)
class TextArrived(CallEvent):
    """A piece of the text of a call's draft arrived."""

    piece: str


@dataclass(frozen=True, slots=True)
class _RecordEvent(Event):
    record: CallRecord

    @property
    def call_id(self) -> str | None:
        return self.record.call.id


@dataclass(frozen=True, slots=True)
class CallEnded(_RecordEvent):
    """A call ended, one way or another. `replayed`: it was taken from the journal and cost nothing now."""

    replayed: bool = False


@dataclass(frozen=True, slots=True)
class BranchEnded(_RecordEvent):
    """A flow that ran in a call's place ended; `record` describes it as if it had been one call."""


def stamped(event: Event, run: Run) -> Event:
    """The event as `run` publishes it now."""
    return replace(event, run_id=run.run_id, owner=run.owner, time=time.time())


def end_event(record: CallRecord, *, replayed: bool = False) -> CallEnded | BranchEnded:
    """The event of the end of a call, or of a flow in a call's place."""
    return BranchEnded(record) if isinstance(record.call, PanelCall) else CallEnded(record, replayed)
