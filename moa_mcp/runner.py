"""The one module that waits on calls: it drives a flow, keeps its time, and tells what happens.

It knows neither presets nor stores: what is heard and kept are functions it is given.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import anyio

from moa_mcp.errors import MoAError, ProviderError, Reason
from moa_mcp.model import Answer, Batch, Branch, Call, CallRecord, Draft, Failure, Flow, Outcome
from moa_mcp.providers.base import Provider
from moa_mcp.text import one_line

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RunPlanned:
    """Told to each listener first: how many calls the run needs if nothing fails and nothing ends it early."""

    calls: int


@dataclass(frozen=True, slots=True)
class BatchStarted:
    """A batch is about to run."""

    batch: Batch


@dataclass(frozen=True, slots=True)
class CallStarted:
    """A call is about to be sent."""

    call: Call


@dataclass(frozen=True, slots=True)
class TextArrived:
    """A piece of the text of a call's draft arrived."""

    call: Call
    piece: str


@dataclass(frozen=True, slots=True)
class CallEnded:
    """A call ended, one way or another. `replayed`: it was taken from the journal and cost nothing now."""

    record: CallRecord
    replayed: bool = False


@dataclass(frozen=True, slots=True)
class BranchEnded:
    """A flow that stood in a call's place ended; `record` tells of it as if it had been one call."""

    record: CallRecord


Event: TypeAlias = RunPlanned | BatchStarted | CallStarted | TextArrived | CallEnded | BranchEnded
Listener = Callable[[Event], None]
"""Hears of each event at once; must not block."""

Keep = Callable[[CallRecord], Awaitable[None]]
"""Writes a finished call or branch down; the flow goes on only after it has."""


@dataclass(slots=True)
class Runner:
    """Drives flows over a provider.

    `journal` holds finished calls of the same run by call id: these are replayed instead of being sent.
    """

    provider: Provider
    listen: Listener
    keep: Keep
    deadline_seconds: float
    journal: Mapping[str, CallRecord]

    async def drive(self, flow: Flow) -> Answer:
        """Feed `flow` the outcomes of each of its batches until it answers.

        Raises:
            RunFailed: the flow found that there can be no answer.
        """
        started = anyio.current_time()
        return await self.drive_within(flow, started, started + self.deadline_seconds)

    async def drive_within(self, flow: Flow, start: float, end: float) -> Answer:
        """`drive`, with the batches' shares of time taken of the time from `start` to `end`."""
        batch = next(flow)
        while True:
            self.listen(BatchStarted(batch))
            outcomes = await _Fanout(self, batch, start + (end - start) * batch.until).run()
            try:
                batch = flow.send(outcomes)
            except StopIteration as stop:
                answer: Answer = stop.value
                return answer


class _Fanout:
    """The calls and branches of one batch, side by side, until all are in or the time is up."""

    def __init__(self, runner: Runner, batch: Batch, deadline: float) -> None:
        self._runner = runner
        self._batch = batch
        self._outcomes: dict[str, Outcome] = {}
        self._scope = anyio.CancelScope(deadline=deadline)
        self._given_up = Reason.DEADLINE

    async def run(self) -> list[Outcome]:
        with self._scope:
            async with anyio.create_task_group() as group:
                for call in self._batch.calls:
                    group.start_soon(self._one, call, name=f"call {call.id}")
                for branch in self._batch.branches:
                    group.start_soon(self._branch, branch, name=f"branch {branch.id}")
        return [self._outcomes.get(call.id) or Failure(self._given_up) for call in self._batch.asked]

    async def _branch(self, branch: Branch) -> None:
        started = anyio.current_time()
        try:
            answer = await self._runner.drive_within(branch.flow(), started, self._scope.deadline)
            outcome: Outcome = _as_draft(branch, answer)
        except MoAError as error:
            outcome = Failure(Reason.PANEL, one_line(str(error)))
        record = CallRecord(branch.call, outcome, anyio.current_time() - started)
        await self._runner.keep(record)
        self._runner.listen(BranchEnded(record))
        self._settle(branch.call, outcome)

    async def _one(self, call: Call) -> None:
        if known := self._runner.journal.get(call.id):
            self._runner.listen(CallEnded(known, replayed=True))
            self._settle(call, known.outcome)
            return
        self._runner.listen(CallStarted(call))
        started = anyio.current_time()
        try:
            outcome = await self._outcome_of(call)
        except anyio.get_cancelled_exc_class():
            lost = Failure(self._given_up if self._time_is_up() else Reason.CANCELLED)
            self._runner.listen(CallEnded(CallRecord(call, lost, anyio.current_time() - started)))
            raise
        record = CallRecord(call, outcome, anyio.current_time() - started)
        try:
            await self._runner.keep(record)
        finally:
            # What was paid for counts, even if time was up while it was being written down.
            self._runner.listen(CallEnded(record))
            self._settle(call, outcome)

    async def _outcome_of(self, call: Call) -> Outcome:
        def hear(piece: str) -> None:
            if piece:
                self._runner.listen(TextArrived(call, piece))

        try:
            return await self._runner.provider.complete(call, hear)
        except ProviderError as error:
            return Failure.of(error)
        except Exception as error:
            # A bug in one adapter must not cost the other drafts; the log has the traceback, the run the name.
            logger.exception("Call %s to %s broke", call.id, call.model)
            return Failure(Reason.INTERNAL, type(error).__name__)

    def _settle(self, call: Call, outcome: Outcome) -> None:
        self._outcomes[call.id] = outcome
        if self._batch.grace_seconds is not None and self._only_stragglers_are_left():
            closing = anyio.current_time() + self._batch.grace_seconds
            if closing < self._scope.deadline:
                self._scope.deadline = closing
                self._given_up = Reason.STRAGGLER

    def _only_stragglers_are_left(self) -> bool:
        drafts = sum(isinstance(outcome, Draft) for outcome in self._outcomes.values())
        waiting = len(self._batch.asked) - len(self._outcomes)
        return 0 < waiting <= max(1, len(self._batch.asked) // 5) and drafts >= self._batch.enough

    def _time_is_up(self) -> bool:
        return anyio.current_time() >= self._scope.deadline


def _as_draft(branch: Branch, answer: Answer) -> Draft:
    return Draft(
        answer.text,
        served_model=branch.call.model,
        finish_reason="stop",
        notes=answer.notes,
        method=answer.method,
    )
