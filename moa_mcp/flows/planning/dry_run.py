"""A flow played through with made-up drafts: how many calls it makes, in how many rounds, of what length.

Nothing is sent. How the models behave is a world: in `least` and its like all goes so well that a run ends
soonest, in `planned` nothing fails and it goes on longest, and in `astray` judges answer out of form at first
and whoever would end it alone fails. The bounds on a run's calls come from playing it in all of them, never
from a formula.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TypeAlias

from moa_mcp.domain.errors import PlanRefused, Reason, RunFailed
from moa_mcp.domain.model import AGGREGATOR, Batch, Call, Draft, Failure, Flow, Outcome
from moa_mcp.flows.route.short_circuit import SAMPLER, SOLO

DRAFT_TOKENS = 700
"""How long a made-up draft is."""

LETTERS_PER_TOKEN = 4
MOST_CALLS = 2_000

_DRAFT_LETTERS = DRAFT_TOKENS * LETTERS_PER_TOKEN


@dataclass(frozen=True, slots=True)
class RehearsedCall:
    """A call that a run would make, with about how many tokens it would read and write."""

    model: str
    input_tokens: int
    output_tokens: int


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """The calls of a whole flow, and how many times it waits for some of them. `first` are those it begins with."""

    asked: tuple[RehearsedCall, ...] = ()
    rounds: int = 0
    first: tuple[Call, ...] = field(default=(), compare=False, repr=False)

    @property
    def calls(self) -> int:
        return len(self.asked)

    @property
    def input_tokens(self) -> int:
        return sum(call.input_tokens for call in self.asked)

    @property
    def output_tokens(self) -> int:
        return sum(call.output_tokens for call in self.asked)

    def then(self, batch: Sequence[RehearsedCall], rounds: int) -> Rehearsal:
        """This rehearsal with more calls behind it.

        Raises:
            PlanRefused: there would be more than `MOST_CALLS`; such a plan is a mistake or an attack.
        """
        if len(self.asked) + len(batch) > MOST_CALLS:
            raise PlanRefused(
                f"The preset needs more than {MOST_CALLS:,} calls. Use fewer proposers, samples or layers."
            )
        return Rehearsal((*self.asked, *batch), self.rounds + rounds, self.first)


World: TypeAlias = Callable[[Call], Outcome]
"""What every call comes to."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """The least and the most calls, and rounds of them, that a run can come to."""

    least_calls: int
    most_calls: int
    least_rounds: int
    most_rounds: int


def planned(call: Call) -> Outcome:
    """Nothing fails, and every reply lets the flow go on longest.

    No two drafts are alike, since a consensus might end the flow; each sets `answer`, for a flow that runs
    programs.
    """
    if call.likely is not None:
        return Draft(call.likely.most, finish_reason="stop")
    if call.kind == "embedding":
        places = range(len(call.messages))
        return Draft(json.dumps([[float(place == one) for place in places] for one in places]))
    return _unlike_others(call.id)


@lru_cache(maxsize=256)
def _unlike_others(identity: str) -> Draft:
    """A draft of words that no other call writes; kept, because every ask is rehearsed."""
    words = [hashlib.sha256(f"{identity}/{part}".encode()).hexdigest() for part in range(_DRAFT_LETTERS // 64)]
    return Draft(f"{' '.join(words)}\nanswer=step_{words[0]}()", finish_reason="stop")


def least(call: Call) -> Outcome:
    """Nothing fails, all drafts agree, and every reply lets the flow end soonest."""
    if call.likely is not None:
        return Draft(call.likely.least, finish_reason="stop")
    if call.kind == "embedding":
        return Draft(json.dumps([[1.0]] * len(call.messages)))
    return Draft("The answer is 42. " * (_DRAFT_LETTERS // 18), finish_reason="stop")


def terse(call: Call) -> Outcome:
    """As in `least`, but with drafts too short for one to be taken for a copy of another."""
    return Draft("The answer is 42.", finish_reason="stop") if _is_free(call) else least(call)


def divided(call: Call) -> Outcome:
    """As in `terse`, but every second draft differs: of an odd number, the largest minority that stands apart."""
    return _split(call, 2)


def outvoted(call: Call) -> Outcome:
    """As in `divided`, but the second draft differs not: the largest minority of an even number."""
    return _split(call, 4)


def _split(call: Call, first: int) -> Outcome:
    number = re.search(r"(\d+)$", call.id)  # not the slot: all calls of a branch are of one
    place = int(number[1]) if number and _is_free(call) else 1
    return terse(call) if place < first or place % 2 else Draft("The answer is 7.", finish_reason="stop")


def astray(call: Call) -> Outcome:
    """Who is to reply in a fixed form does so only when asked again, and nobody answers who would end the run."""
    if call.role in (AGGREGATOR, SOLO):
        return Failure(Reason.OVERLOADED)
    if call.likely is not None and call.kind == "chat" and not call.is_repeat:
        return Draft("", finish_reason="stop")
    return planned(call)


def lost(call: Call) -> Outcome:
    """Nobody ever replies in the form that was asked for, and nobody answers who would end the run, nor samples."""
    if call.role == SAMPLER:
        return Failure(Reason.OVERLOADED)
    return Draft("", finish_reason="stop") if call.likely is not None and call.kind == "chat" else astray(call)


def deserted(call: Call) -> Outcome:
    """Nobody drafts either. Most flows fail of it at once, but an end that can do without drafts goes on."""
    return Failure(Reason.OVERLOADED) if _is_free(call) else lost(call)


def _is_free(call: Call) -> bool:
    """Whether a call asks for words of no fixed form: for a draft, say."""
    return call.kind == "chat" and call.likely is None


WORLDS: tuple[World, ...] = (least, terse, divided, outvoted, planned, astray, lost)


def bounds(flow: Callable[[], Flow]) -> Bounds:
    """The bounds of what `flow` makes, from playing it in every world.

    Raises:
        PlanRefused: in one of them it makes more than `MOST_CALLS` calls.
    """
    rehearsals = [rehearse(flow(), world) for world in WORLDS]
    worst = rehearse(flow(), deserted)  # it bounds from above alone: what fails at once is no short run
    calls = [rehearsal.calls for rehearsal in rehearsals]
    rounds = [rehearsal.rounds for rehearsal in rehearsals]
    return Bounds(min(calls), max(*calls, worst.calls), min(rounds), max(*rounds, worst.rounds))


def rehearse(flow: Flow, world: World = planned) -> Rehearsal:
    """Play `flow` to its end, or to where it fails for want of real drafts.

    Raises:
        PlanRefused: it makes more than `MOST_CALLS` calls.
    """
    return _played(flow, world)[0]


def _played(flow: Flow, world: World) -> tuple[Rehearsal, Draft | None]:
    """What a flow came to, and its answer as the draft that it is to an outer one; None if it failed."""
    rehearsal: Rehearsal | None = None
    try:
        batch = next(flow)
        while True:
            inner = [_played(branch.flow(), world) for branch in batch.branches]
            played = [one for one, _ in inner]
            rehearsal = _after(rehearsal or _beginning(batch, played), batch, played)
            # What fails here, for want of real drafts, may answer at the last moment in a run: the outer goes on.
            drafts = (draft or planned(branch.call) for branch, (_, draft) in zip(batch.branches, inner, strict=True))
            batch = flow.send([*map(world, batch.calls), *drafts])
    except StopIteration as stop:
        return rehearsal or Rehearsal(), Draft(stop.value.text, finish_reason="stop", method=stop.value.method)
    except RunFailed:
        return rehearsal or Rehearsal(), None


def _beginning(batch: Batch, inner: Sequence[Rehearsal]) -> Rehearsal:
    """What begins with `batch`: its calls are sent at once, and those that its branches begin with."""
    return Rehearsal(first=(*batch.calls, *(call for one in inner for call in one.first)))


def _after(rehearsal: Rehearsal, batch: Batch, inner: Sequence[Rehearsal]) -> Rehearsal:
    """Code that is run here is no call, and no round."""
    calls = [_rehearsed(call) for call in batch.calls if call.kind != "code"]
    own_round = int(bool(calls))
    calls.extend(call for one in inner for call in one.asked)
    return rehearsal.then(calls, max((own_round, *(one.rounds for one in inner))))


def _rehearsed(call: Call) -> RehearsedCall:
    letters = sum(len(message.text) for message in call.messages)
    written = 0 if call.kind != "chat" else min(DRAFT_TOKENS, call.max_tokens or DRAFT_TOKENS)
    return RehearsedCall(call.model, -(-letters // LETTERS_PER_TOKEN), written)
