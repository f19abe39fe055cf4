"""A flow played through with made-up drafts: how many calls it makes, in how many rounds, of what length.

Nothing is sent. How the models behave is a world: in `shortest_run` and its like all goes so well that a run ends
soonest, in `planned` nothing fails and it goes on longest, and in `malformed_once` judges answer out of form at first
and whoever would end it alone fails. The bounds on a run's calls come from playing it in all of them, never
from a formula.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TypeAlias

from moa_mcp.domain.errors import PlanRefused, Reason, RunFailed
from moa_mcp.domain.model import (
    AGGREGATOR,
    Batch,
    Call,
    ChatCall,
    CodeCall,
    Draft,
    DryRunReplies,
    EmbedCall,
    Failure,
    Flow,
    Outcome,
)
from moa_mcp.flows.route.short_circuit import SAMPLER, SOLO

DRAFT_TOKENS = 700
"""How long a made-up draft is."""

CHARS_PER_TOKEN = 4
MAX_CALLS = 2_000

_DRAFT_CHARS = DRAFT_TOKENS * CHARS_PER_TOKEN


@dataclass(frozen=True, slots=True)
class PlannedCall:
    """A call that a run would make, with about how many tokens it would read and write."""

    model: str
    input_tokens: int
    output_tokens: int


@dataclass(frozen=True, slots=True)
class DryRun:
    """The calls of a whole flow, and how many times it waits for some of them. `first` are those it begins with."""

    planned_calls: tuple[PlannedCall, ...] = ()
    rounds: int = 0
    first: tuple[Call, ...] = field(default=(), compare=False, repr=False)

    @property
    def calls(self) -> int:
        return len(self.planned_calls)

    @property
    def input_tokens(self) -> int:
        return sum(call.input_tokens for call in self.planned_calls)

    @property
    def output_tokens(self) -> int:
        return sum(call.output_tokens for call in self.planned_calls)

    def with_batch(self, batch: Sequence[PlannedCall], rounds: int) -> DryRun:
        """This dry run with more calls behind it.

        Raises:
            PlanRefused: there would be more than `MAX_CALLS`; such a plan is a mistake or an attack.
        """
        if len(self.planned_calls) + len(batch) > MAX_CALLS:
            raise PlanRefused(
                f"The preset needs more than {MAX_CALLS:,} calls. Use fewer proposers, samples or layers."
            )
        return DryRun((*self.planned_calls, *batch), self.rounds + rounds, self.first)


@dataclass(frozen=True, slots=True)
class Asked:
    """A call in its batch: its place there, from 1, and what is well-formed where it asks for a fixed form."""

    call: Call
    place: int = 1
    form: DryRunReplies | None = None

    @property
    def is_free_text(self) -> bool:
        """Whether it asks for words of no fixed form: for a draft, say."""
        return isinstance(self.call, ChatCall) and self.form is None


Scenario: TypeAlias = Callable[[Asked], Outcome]
"""What every call comes to."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """The least and the most calls, and rounds of them, that a run can come to."""

    least_calls: int
    most_calls: int
    least_rounds: int
    most_rounds: int


def longest_run(asked: Asked) -> Outcome:
    """Nothing fails, and every reply lets the flow go on longest.

    No two drafts are alike, since a consensus might end the flow; each sets `answer`, for a flow that runs
    programs.
    """
    if asked.form is not None:
        return Draft(asked.form.most, finish_reason="stop")
    if isinstance(asked.call, EmbedCall):
        places = range(len(asked.call.messages))
        return Draft(json.dumps([[float(place == one) for place in places] for one in places]))
    return _unique_draft(asked.call.id)


@lru_cache(maxsize=256)
def _unique_draft(identity: str) -> Draft:
    """A draft of words that no other call writes; kept, because every ask is planned by a dry run."""
    words = [hashlib.sha256(f"{identity}/{part}".encode()).hexdigest() for part in range(_DRAFT_CHARS // 64)]
    return Draft(f"{' '.join(words)}\nanswer=step_{words[0]}()", finish_reason="stop")


def shortest_run(asked: Asked) -> Outcome:
    """Nothing fails, all drafts agree, and every reply lets the flow end soonest."""
    if asked.form is not None:
        return Draft(asked.form.least, finish_reason="stop")
    if isinstance(asked.call, EmbedCall):
        return Draft(json.dumps([[1.0]] * len(asked.call.messages)))
    return Draft("The answer is 42. " * (_DRAFT_CHARS // 18), finish_reason="stop")


def short_drafts(asked: Asked) -> Outcome:
    """As in `shortest_run`, but with drafts too short for one to be taken for a copy of another."""
    return Draft("The answer is 42.", finish_reason="stop") if asked.is_free_text else shortest_run(asked)


def split_odd(asked: Asked) -> Outcome:
    """As in `short_drafts`, but every second draft differs: of an odd number, the largest minority that stands
    apart.
    """
    return _split(asked, 2)


def split_even(asked: Asked) -> Outcome:
    """As in `split_odd`, but the second draft differs not: the largest minority of an even number."""
    return _split(asked, 4)


def _split(asked: Asked, first: int) -> Outcome:
    place = asked.place if asked.is_free_text else 1  # not the slot: all calls of a branch are of one
    return short_drafts(asked) if place < first or place % 2 else Draft("The answer is 7.", finish_reason="stop")


def malformed_once(asked: Asked) -> Outcome:
    """Who is to reply in a fixed form does so only when asked again, and nobody answers who would end the run."""
    if asked.call.role in (AGGREGATOR, SOLO):
        return Failure(Reason.OVERLOADED)
    if asked.form is not None and isinstance(asked.call, ChatCall) and not asked.call.is_repeat:
        return Draft("", finish_reason="stop")
    return longest_run(asked)


def always_malformed(asked: Asked) -> Outcome:
    """Nobody ever replies in the form that was asked for, and nobody answers who would end the run, nor samples."""
    if asked.call.role == SAMPLER:
        return Failure(Reason.OVERLOADED)
    return (
        Draft("", finish_reason="stop")
        if asked.form is not None and isinstance(asked.call, ChatCall)
        else malformed_once(asked)
    )


def no_drafts(asked: Asked) -> Outcome:
    """Nobody drafts either. Most flows fail of it at once, but an end that can do without drafts goes on."""
    return Failure(Reason.OVERLOADED) if asked.is_free_text else always_malformed(asked)


SCENARIOS: tuple[Scenario, ...] = (
    shortest_run,
    short_drafts,
    split_odd,
    split_even,
    longest_run,
    malformed_once,
    always_malformed,
)


def bounds(flow: Callable[[], Flow]) -> Bounds:
    """The bounds of what `flow` makes, from playing it in every scenario.

    Raises:
        PlanRefused: in one of them it makes more than `MAX_CALLS` calls.
    """
    dry_runs = [dry_run(flow(), scenario) for scenario in SCENARIOS]
    worst = dry_run(flow(), no_drafts)  # it bounds from above alone: what fails at once is no short run
    calls = [rehearsal.calls for rehearsal in dry_runs]
    rounds = [rehearsal.rounds for rehearsal in dry_runs]
    return Bounds(min(calls), max(*calls, worst.calls), min(rounds), max(*rounds, worst.rounds))


def dry_run(flow: Flow, scenario: Scenario = longest_run) -> DryRun:
    """Play `flow` to its end, or to where it fails for want of real drafts.

    Raises:
        PlanRefused: it makes more than `MAX_CALLS` calls.
    """
    return _play(flow, scenario)[0]


def _play(flow: Flow, scenario: Scenario) -> tuple[DryRun, Draft | None]:
    """What a flow came to, and its answer as the draft that it is to an outer one; None if it failed."""
    rehearsal: DryRun | None = None
    try:
        batch = next(flow)
        while True:
            inner = [_play(branch.flow(), scenario) for branch in batch.branches]
            played = [one for one, _ in inner]
            rehearsal = _with_batch(rehearsal or _beginning(batch, played), batch, played)
            # What fails here, for want of real drafts, may answer at the last moment in a run: the outer goes on.
            drafts = (
                draft or longest_run(Asked(branch.call))
                for branch, (_, draft) in zip(batch.branches, inner, strict=True)
            )
            batch = flow.send([*map(scenario, _asked_in(batch)), *drafts])
    except StopIteration as stop:
        return rehearsal or DryRun(), Draft(stop.value.text, finish_reason="stop", method=stop.value.method)
    except RunFailed:
        return rehearsal or DryRun(), None


def _asked_in(batch: Batch) -> list[Asked]:
    return [Asked(call, place, batch.dry_run_replies) for place, call in enumerate(batch.calls, start=1)]


def _beginning(batch: Batch, inner: Sequence[DryRun]) -> DryRun:
    """What begins with `batch`: its calls are sent at once, and those that its branches begin with."""
    return DryRun(first=(*batch.calls, *(call for one in inner for call in one.first)))


def _with_batch(rehearsal: DryRun, batch: Batch, inner: Sequence[DryRun]) -> DryRun:
    """Code that is run here is no call, and no round."""
    calls = [_planned_call(call) for call in batch.calls if not isinstance(call, CodeCall)]
    own_round = int(bool(calls))
    calls.extend(call for one in inner for call in one.planned_calls)
    return rehearsal.with_batch(calls, max((own_round, *(one.rounds for one in inner))))


def _planned_call(call: Call) -> PlannedCall:
    letters = sum(len(message.text) for message in call.messages)
    written = 0 if not isinstance(call, ChatCall) else min(DRAFT_TOKENS, call.max_tokens or DRAFT_TOKENS)
    return PlannedCall(call.model, -(-letters // CHARS_PER_TOKEN), written)
