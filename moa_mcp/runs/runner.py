"""The only module that waits for calls: it drives a flow, enforces its deadline, and publishes events.

It does not know presets or stores: the scheduler passes in the event handler and the journal.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import anyio

from moa_mcp.domain.errors import MoAError, ProviderError, Reason
from moa_mcp.domain.model import Answer, Batch, Branch, Call, CallRecord, Draft, Failure, Flow, Outcome
from moa_mcp.domain.text import one_line
from moa_mcp.providers.base import Provider, usage_of
from moa_mcp.providers.notices import Cooled, Notice, Queued, ReplyBegun, Retry, notices_to
from moa_mcp.runs.events import (
    BatchStarted,
    CallQueued,
    CallRetried,
    CallSent,
    CallStarted,
    EventHandler,
    RouteCooled,
    StragglersAwaited,
    StragglersLeft,
    TextArrived,
    end_event,
)

logger = logging.getLogger(__name__)


WRITE_DELAY_SECONDS = 0.005
"""How long an ended call waits for others, to share one commit: one commit per call would slow down the layer."""


class Journal(Protocol):
    """Stores the finished calls of a run, and publishes their end events (the runner publishes all other events)."""

    @property
    def known(self) -> Mapping[str, CallRecord]:
        """The records from before the run was resumed, by call id. They are replayed, not sent again."""
        ...

    def add(self, record: CallRecord) -> None:
        """Add a finished call or branch."""
        ...

    def announce(self, calls: Iterable[Call]) -> None:
        """Add calls that are about to be sent: the next write books what they may cost."""
        ...

    async def write(self) -> None:
        """Store what was added."""
        ...

    async def wait_written(self) -> None:
        """Wait until all that was added is stored. No batch starts before that."""
        ...


@dataclass(slots=True)
class Runner:
    """Drives flows: sends their calls to a provider, enforces the deadline, and records finished calls."""

    provider: Provider
    on_event: EventHandler
    journal: Journal
    deadline_seconds: float

    async def drive(self, flow: Flow) -> Answer:
        """Send `flow` the outcomes of each of its batches until it returns an answer.

        This does not wait until the records of the last batch are stored: the scheduler stores them with the answer.

        Raises:
            RunFailed: the flow cannot give an answer.
        """
        started = anyio.current_time()
        return await self.drive_within(flow, started, started + self.deadline_seconds)

    async def drive_within(self, flow: Flow, start: float, end: float) -> Answer:
        """As `drive`, but between `start` and `end`: each batch may use its share of that time."""
        batch = next(flow)
        while True:
            self.on_event(BatchStarted(batch))
            outcomes = await _Fanout(self, batch, start + (end - start) * batch.until).run()
            try:
                batch = flow.send(outcomes)
            except StopIteration as stop:
                answer: Answer = stop.value
                return answer
            self.journal.announce(first_calls(batch, self.journal.known))
            await self.journal.wait_written()


def first_calls(batch: Batch, known: Collection[str] = ()) -> Iterator[Call]:
    """Yield the calls that a batch sends at once: its own and the first calls of its branches, except `known` ones."""
    yield from (call for call in batch.calls if call.id not in known)
    for branch in batch.branches:
        if branch.id not in known:
            yield from first_calls(next(branch.flow()), known)


class _Fanout:
    """Runs the calls and branches of one batch concurrently, until all have ended or the deadline has passed."""

    def __init__(self, runner: Runner, batch: Batch, deadline: float) -> None:
        self._runner = runner
        self._batch = batch
        self._calls = batch.all_calls
        self._outcomes: dict[str, Outcome] = {}
        self._scope = anyio.CancelScope(deadline=deadline)
        self._failure_reason = Reason.DEADLINE
        self._complete = anyio.Event()
        self._writing_soon = False

    async def run(self) -> list[Outcome]:
        with self._scope:
            async with anyio.create_task_group() as group:
                for call in self._batch.calls:
                    group.start_soon(self._run_call, call, name=f"call {call.id}")
                for branch in self._batch.branches:
                    group.start_soon(self._run_branch, branch, name=f"branch {branch.id}")
        if self._failure_reason is Reason.STRAGGLER and (left := self._unfinished()):
            self._runner.on_event(StragglersLeft(left))
        return [self._outcomes.get(call.id) or Failure(self._failure_reason) for call in self._calls]

    def _unfinished(self) -> tuple[Call, ...]:
        return tuple(call for call in self._calls if call.id not in self._outcomes)

    async def _run_branch(self, branch: Branch) -> None:
        if self._replay_skipped(branch):
            return
        started = anyio.current_time()
        try:
            answer = await self._runner.drive_within(branch.flow(), started, self._scope.deadline)
            outcome: Outcome = _as_draft(branch, answer)
        except MoAError as error:
            outcome = Failure(Reason.PANEL, one_line(str(error)))
        except anyio.get_cancelled_exc_class():
            self._record_cut_off(branch.call, started)
            raise
        await self._record(CallRecord(branch.call, outcome, anyio.current_time() - started))

    def _replay_skipped(self, branch: Branch) -> bool:
        """Replay a branch that the layer left out before the run was resumed; return whether it was left out.

        The layer leaves it out again, so that the resumed run takes the same way as before.
        """
        known = self._runner.journal.known
        record = known.get(branch.id)
        if record is None or not _is_lost(record):
            return False
        inner = (entry for entry in known.values() if branch.id in entry.call.branches)
        for entry in (*inner, record):
            self._runner.on_event(end_event(entry, replayed=True))
        self._settle(branch.call, record.outcome)
        return True

    async def _run_call(self, call: Call) -> None:
        if known := self._runner.journal.known.get(call.id):
            self._runner.on_event(end_event(known, replayed=True))
            self._settle(call, known.outcome)
            return
        self._runner.on_event(CallStarted(call))
        started = anyio.current_time()
        try:
            outcome = await self._outcome_of(call)
        except anyio.get_cancelled_exc_class():
            self._record_cut_off(call, started)
            raise
        await self._record(CallRecord(call, outcome, anyio.current_time() - started))

    async def _record(self, record: CallRecord) -> None:
        self._settle(record.call, record.outcome)
        self._runner.journal.add(record)
        if len(self._outcomes) == len(self._calls):
            self._complete.set()  # the write after this batch stores this record too
        elif not self._writing_soon:  # otherwise, the task that already waits stores this record too
            await self._write_soon()

    async def _write_soon(self) -> None:
        """Wait a moment for more records, then store all. If the batch ends first, leave them to the write after it."""
        self._writing_soon = True
        with anyio.move_on_after(WRITE_DELAY_SECONDS):
            await self._complete.wait()
            return
        self._writing_soon = False
        await self._runner.journal.write()

    def _record_cut_off(self, call: Call, started: float) -> None:
        """Record a cancelled call. If its time was up, the journal keeps it, and a resume does not send it again.

        If the run was stopped, only an event is published, so that a resume sends the call again.
        """
        seconds, used = anyio.current_time() - started, usage_of(self._runner.provider, call)
        if anyio.current_time() >= self._scope.deadline:
            self._runner.journal.add(CallRecord(call, Failure(self._failure_reason, usage=used), seconds))
        else:
            self._runner.on_event(end_event(CallRecord(call, Failure(Reason.CANCELLED, usage=used), seconds)))

    async def _outcome_of(self, call: Call) -> Outcome:
        reporter = _CallReporter(call, self._runner.on_event)
        try:
            with notices_to(reporter.on_notice):
                return await self._runner.provider.complete(call, reporter.on_text)
        except ProviderError as error:
            return Failure.of(error)
        except Exception as error:
            # A bug in one adapter must not lose the other drafts. The log has the traceback; the run, the name.
            logger.exception("Call %s to %s broke", call.id, call.model)
            return Failure(Reason.INTERNAL, type(error).__name__)

    def _settle(self, call: Call, outcome: Outcome) -> None:
        self._outcomes[call.id] = outcome
        if self._batch.grace_seconds is not None and self._is_only_waiting_for_stragglers():
            grace_end = anyio.current_time() + self._batch.grace_seconds
            if grace_end < self._scope.deadline:
                self._scope.deadline = grace_end
                self._failure_reason = Reason.STRAGGLER
                self._runner.on_event(StragglersAwaited(self._unfinished(), self._batch.grace_seconds))

    def _is_only_waiting_for_stragglers(self) -> bool:
        waiting = len(self._calls) - len(self._outcomes)
        if not 0 < waiting <= max(1, len(self._calls) // 5):
            return False
        return sum(not isinstance(outcome, Failure) for outcome in self._outcomes.values()) >= self._batch.enough


class _CallReporter:
    """Turns the text and the notices that a provider sends for one call into events."""

    def __init__(self, call: Call, on_event: EventHandler) -> None:
        self._call = call
        self._on_event = on_event
        self._waits = False

    def on_text(self, piece: str) -> None:
        """Handle a piece of text. An empty piece means that the call is being sent, or that it is alive."""
        if self._waits:
            self._waits = False
            self._on_event(CallSent(self._call))
        if piece:
            self._on_event(TextArrived(self._call, piece))

    def on_notice(self, notice: Notice) -> None:
        match notice:
            case Retry(seconds, reason, detail):
                self._waits = True
                self._on_event(CallRetried(self._call, seconds, reason, detail))
            case Queued(max_concurrency):
                self._waits = True
                self._on_event(CallQueued(self._call, max_concurrency))
            case Cooled(seconds, reason):
                self._on_event(RouteCooled(self._call, seconds, reason))
            case ReplyBegun():
                pass


def _is_lost(record: CallRecord) -> bool:
    return isinstance(record.outcome, Failure) and record.outcome.reason in {Reason.STRAGGLER, Reason.DEADLINE}


def _as_draft(branch: Branch, answer: Answer) -> Draft:
    return Draft(
        answer.text,
        served_model=branch.call.model,
        finish_reason="stop",
        notes=answer.notes,
        method=answer.method,
        learned=answer.learned,
        shortfalls=answer.shortfalls,
        lost=answer.lost,
    )
