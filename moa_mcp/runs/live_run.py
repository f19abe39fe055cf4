"""A run that goes on: its state, and who waits for it. What starts and ends it is desk.py's."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import anyio

from moa_mcp.domain.model import CallRecord, Run
from moa_mcp.domain.spend import Spend
from moa_mcp.runs.endings import CANCEL, Stop
from moa_mcp.runs.events import BranchEnded, CallEnded, Event, EventHandler, RunPlanned, stamped
from moa_mcp.runs.journal import StoredJournal


@dataclass(slots=True)
class LiveRun:
    """A run that is going on: how it was begun or resumed, what has ended since, and who subscribed to it.

    `detached` is set once a caller was told that it goes on without it. `stopped` is why it was stopped, if it
    was; `final` what it came to, once it is `done`. `watchers` subscribe to all runs, `handlers` to this one.
    """

    initial: Run
    journal: StoredJournal
    records: list[CallRecord] = field(default_factory=list[CallRecord])
    stopped: Stop | None = None
    final: Run | None = None
    handlers: list[EventHandler] = field(default_factory=list[EventHandler])
    watchers: Sequence[EventHandler] = ()
    done: anyio.Event = field(default_factory=anyio.Event)
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    waiters: int = 0
    detached: bool = False
    started: float = field(default_factory=anyio.current_time)
    elapsed_before_resume: float = 0.0

    @property
    def run(self) -> Run:
        """The run with all that has ended by now."""
        return self.final or self.initial.with_records(self.records)

    def snapshot(self) -> Run:
        """The run as it is at this moment, with the seconds it has taken so far."""
        return self.final or replace(self.run, seconds=self.elapsed_seconds())

    def elapsed_seconds(self) -> float:
        """How long it has taken so far, with what it had taken before it was interrupted, as far as that is known."""
        return self.elapsed_before_resume + anyio.current_time() - self.started

    def publish(self, event: Event) -> None:
        """Take an event into the run's state and give it, with the run's id and the time, to all who subscribed."""
        if isinstance(event, CallEnded | BranchEnded):
            self.records.append(event.record)
        if handlers := (*self.handlers, *self.watchers):
            published = stamped(event, self.initial)
            for handler in handlers:
                handler(published)

    def stop(self, stop: Stop) -> None:
        """End its calls. Only a cancel takes the place of an earlier reason."""
        if self.stopped is None or stop is CANCEL:
            self.stopped = stop
        self.scope.cancel()

    async def goes_on(self) -> bool:
        """Whether it goes on. One that is being stopped does not, and has ended once this returns."""
        if self.stopped is not None:
            await self.done.wait()
        return not self.done.is_set()

    def spent(self) -> Spend:
        """What its calls came to since it was begun or resumed, those included that are just being written down."""
        return Spend.on((*self.records, *self.journal.pending))

    @contextmanager
    def handled_by(self, handler: EventHandler | None) -> Generator[None]:
        """Subscribe `handler` to the run while the block lasts; it gets the calls that ended before first."""
        if handler is None:
            yield
            return
        handler(stamped(RunPlanned(self.initial.planned_calls), self.initial))
        for record in self.run.calls:
            handler(stamped(CallEnded(record, replayed=True), self.initial))
        self.handlers.append(handler)
        try:
            yield
        finally:
            self.handlers.remove(handler)
