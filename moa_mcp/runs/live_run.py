"""A live run: its state, its subscribers, its waiters and how it ends. scheduler.py starts and ends it."""

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
    """A live run: its state at start or resume, the calls that ended since, and its subscribers.

    `detached` is set once a caller has received the run id and does not wait any more: from then on, the run does not
    stop when its callers leave. `stopped` is why the run was stopped, if it was. `final` is its last state, set when it
    is `done`. `watchers` subscribe to all runs, `handlers` to this one.
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
        """The run with all calls that have ended so far."""
        return self.final or self.initial.with_records(self.records)

    def snapshot(self) -> Run:
        """Return the current state of the run, with the seconds it has taken so far."""
        return self.final or replace(self.run, seconds=self.elapsed_seconds())

    def elapsed_seconds(self) -> float:
        """Return the seconds so far, including the known seconds from before an interruption."""
        return self.elapsed_before_resume + anyio.current_time() - self.started

    def publish(self, event: Event) -> None:
        """Update the run's state, add run id, owner and time to the event, and send it to all subscribers."""
        if isinstance(event, CallEnded | BranchEnded):
            self.records.append(event.record)
        if handlers := (*self.handlers, *self.watchers):
            published = stamped(event, self.initial)
            for handler in handlers:
                handler(published)

    def stop(self, stop: Stop) -> None:
        """Stop the run by cancelling its calls. Only `CANCEL` replaces an earlier reason."""
        if self.stopped is None or stop is CANCEL:
            self.stopped = stop
        self.scope.cancel()

    async def goes_on(self) -> bool:
        """Return whether the run is still live. If it is being stopped, wait for its end and return False."""
        if self.stopped is not None:
            await self.done.wait()
        return not self.done.is_set()

    def spent(self) -> Spend:
        """Return what the calls since start or resume used, including records that are not stored yet."""
        return Spend.on((*self.records, *self.journal.pending))

    @contextmanager
    def handled_by(self, handler: EventHandler | None) -> Generator[None]:
        """Subscribe `handler` to the run inside the block. It first gets the calls that have already ended."""
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
