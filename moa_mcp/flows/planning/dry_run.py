"""Play a flow with made-up drafts, to count its calls, its rounds and their tokens. Nothing is sent.

A scenario decides how the models behave. In `shortest_run` and similar ones, the run ends as soon as possible. In
`longest_run`, nothing fails and the run goes on as long as possible. In `malformed_once`, the first reply of each judge
is malformed, and the models that could end the run alone fail. The bounds on a run's calls come from playing all
scenarios, never from a formula.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TypeAlias

from moa_mcp.domain.errors import PlanRefused, Reason, RunFailed
from moa_mcp.domain.execution import Execution
from moa_mcp.domain.model import (
    AGGREGATOR,
    SAMPLER,
    Batch,
    Call,
    ChatCall,
    CodeCall,
    CodeResult,
    Draft,
    DryRunReplies,
    EmbedCall,
    Embeddings,
    Failure,
    Flow,
    Outcome,
    Result,
)
from moa_mcp.flows.route.short_circuit import SOLO
from moa_mcp.prompts.panel import AGGREGATE_AND_SYNTHESIZE, can_be_repeated

DRAFT_TOKENS = 700
"""The tokens of a made-up draft."""

CHARS_PER_TOKEN = 4
MAX_CALLS = 2_000

_DRAFT_CHARS = DRAFT_TOKENS * CHARS_PER_TOKEN


@dataclass(frozen=True, slots=True)
class PlannedCall:
    """A call that a run would make, with estimates of its input and output tokens."""

    model: str
    input_tokens: int
    output_tokens: int


@dataclass(frozen=True, slots=True)
class DryRun:
    """The calls of a whole flow and the number of rounds it waits for; `first` are the calls of its first round."""

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
        """This dry run with more calls and rounds.

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
    """A call of a batch, with its place there, from 1, and well-formed replies if it asks for a fixed form."""

    call: Call
    place: int = 1
    form: DryRunReplies | None = None

    @property
    def is_free_text(self) -> bool:
        """Whether the call asks for text without a fixed form, such as a draft."""
        return isinstance(self.call, ChatCall) and self.form is None


Scenario: TypeAlias = Callable[[Asked], Outcome]
"""Decides the outcome of each call."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """The least and the most calls and rounds that a run can have."""

    least_calls: int
    most_calls: int
    least_rounds: int
    most_rounds: int


def longest_run(asked: Asked) -> Outcome:
    """Nothing fails, and every reply makes the flow go on as long as possible.

    All drafts differ, and so do the answers that they state, because a consensus might end the flow. Each draft sets
    `answer`, for a flow that runs programs.
    """
    if asked.form is not None:
        return _reply(asked.form.most)
    if isinstance(asked.call, EmbedCall):
        places = range(len(asked.call.messages))
        return Embeddings(tuple(tuple(float(place == one) for place in places) for one in places))
    return _unique_draft(asked.call.id)


def _reply(reply: str | Execution) -> Result:
    return Draft(reply, finish_reason="stop") if isinstance(reply, str) else CodeResult(reply)


@lru_cache(maxsize=256)
def _unique_draft(identity: str) -> Draft:
    """A draft that no other call writes. It is cached, because a dry run precedes every run."""
    words = [hashlib.sha256(f"{identity}/{part}".encode()).hexdigest() for part in range(_DRAFT_CHARS // 64)]
    text = f"{' '.join(words)}\n#\\boxed{{{words[0]}}}\nanswer=step_{words[0]}()"
    return Draft(text, finish_reason="stop")


def shortest_run(asked: Asked) -> Outcome:
    """Nothing fails, all drafts agree, and every reply makes the flow end as soon as possible."""
    if asked.form is not None:
        return _reply(asked.form.least)
    if isinstance(asked.call, EmbedCall):
        return Embeddings(((1.0,),) * len(asked.call.messages))
    return Draft("The answer is 42. " * (_DRAFT_CHARS // 18), finish_reason="stop")


def short_drafts(asked: Asked) -> Outcome:
    """As in `shortest_run`, but the drafts are too short to count as copies of each other."""
    return Draft("The answer is 42.", finish_reason="stop") if asked.is_free_text else shortest_run(asked)


def split_odd(asked: Asked) -> Outcome:
    """As in `short_drafts`, but every second draft differs: the largest minority of an odd number of drafts."""
    return _split(asked, 2)


def split_even(asked: Asked) -> Outcome:
    """As in `split_odd`, but the second draft does not differ: the largest minority of an even number of drafts."""
    return _split(asked, 4)


def _split(asked: Asked, first: int) -> Outcome:
    place = asked.place if asked.is_free_text else 1  # not the slot, because all calls of a branch have the same slot
    return short_drafts(asked) if place < first or place % 2 else Draft("The answer is 7.", finish_reason="stop")


def malformed_once(asked: Asked) -> Outcome:
    """Replies in a fixed form are malformed at the first try, and calls that could end the run alone fail.

    Where an aggregator can repeat its instructions, it does: it is then asked once more before it has failed.
    """
    if asked.call.role in (AGGREGATOR, SOLO):
        echo = can_be_repeated(asked.call.messages)
        return Draft(AGGREGATE_AND_SYNTHESIZE, finish_reason="stop") if echo else Failure(Reason.OVERLOADED)
    if asked.form is not None and isinstance(asked.call, ChatCall) and not asked.call.is_repeat:
        return Draft("", finish_reason="stop")
    return longest_run(asked)


def always_malformed(asked: Asked) -> Outcome:
    """All replies in a fixed form are malformed; calls that could end the run alone fail, and so do samples."""
    if asked.call.role == SAMPLER:
        return Failure(Reason.OVERLOADED)
    if asked.form is not None and isinstance(asked.call, ChatCall):
        return Draft("", finish_reason="stop")
    return malformed_once(asked)


def no_drafts(asked: Asked) -> Outcome:
    """As in `always_malformed`, and all drafts fail. Most flows fail at once; some ways to conclude need no drafts."""
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
    """The bounds of `flow`, found by playing it in every scenario.

    Raises:
        PlanRefused: in one scenario it makes more than `MAX_CALLS` calls.
    """
    dry_runs = [dry_run(flow(), scenario) for scenario in SCENARIOS]
    worst = dry_run(flow(), no_drafts)  # an upper bound only: a flow that fails at once is not a short run
    calls = [one.calls for one in dry_runs]
    rounds = [one.rounds for one in dry_runs]
    return Bounds(min(calls), max(*calls, worst.calls), min(rounds), max(*rounds, worst.rounds))


def dry_run(flow: Flow, scenario: Scenario = longest_run) -> DryRun:
    """Play `flow` to its end, or until it fails because its drafts are not real.

    Raises:
        PlanRefused: the flow makes more than `MAX_CALLS` calls.
    """
    return _play(flow, scenario)[0]


def _play(flow: Flow, scenario: Scenario) -> tuple[DryRun, Draft | None]:
    """The dry run of a flow, and its answer as a draft for the outer flow; None if the flow failed."""
    so_far: DryRun | None = None
    try:
        batch = next(flow)
        while True:
            inner = [_play(branch.flow(), scenario) for branch in batch.branches]
            inner_runs = [one for one, _ in inner]
            if so_far is None:
                so_far = DryRun(first=(*batch.calls, *(call for one in inner_runs for call in one.first)))
            so_far = _with_batch(so_far, batch, inner_runs)
            # A branch that fails on made-up drafts may succeed in a real run, so the outer flow gets a draft.
            drafts = (
                draft or longest_run(Asked(branch.call))
                for branch, (_, draft) in zip(batch.branches, inner, strict=True)
            )
            asked = (Asked(call, place, batch.dry_run_replies) for place, call in enumerate(batch.calls, start=1))
            batch = flow.send([*map(scenario, asked), *drafts])
    except StopIteration as stop:
        return so_far or DryRun(), Draft(stop.value.text, finish_reason="stop", method=stop.value.method)
    except RunFailed:
        return so_far or DryRun(), None


def _with_batch(so_far: DryRun, batch: Batch, inner: Sequence[DryRun]) -> DryRun:
    """Add `batch` and its branches. Code that runs on this machine counts neither as a call nor as a round."""
    calls = [_planned_call(call) for call in batch.calls if not isinstance(call, CodeCall)]
    own_round = int(bool(calls))
    calls.extend(call for one in inner for call in one.planned_calls)
    return so_far.with_batch(calls, max((own_round, *(one.rounds for one in inner))))


def _planned_call(call: Call) -> PlannedCall:
    chars = sum(len(message.text) for message in call.messages)
    output_tokens = 0 if not isinstance(call, ChatCall) else min(DRAFT_TOKENS, call.max_tokens or DRAFT_TOKENS)
    return PlannedCall(call.model, -(-chars // CHARS_PER_TOKEN), output_tokens)
