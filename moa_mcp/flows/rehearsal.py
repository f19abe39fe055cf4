"""A flow played through with made-up drafts: how many calls it makes, in how many rounds, of what length.

Nothing is sent. Where a call has a fixed form of reply, the one that lets the flow go on longest is given, so
that the counts are what a run may come to at most.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

from moa_mcp.errors import PlanRefused, RunFailed
from moa_mcp.model import Batch, Call, Draft, Flow, Outcome

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
    """The calls of a whole flow, and how many times it waits for some of them."""

    asked: tuple[RehearsedCall, ...] = ()
    rounds: int = 0

    @property
    def calls(self) -> int:
        return len(self.asked)

    def then(self, batch: Sequence[RehearsedCall], rounds: int) -> Rehearsal:
        """This rehearsal with more calls behind it.

        Raises:
            PlanRefused: there would be more than `MOST_CALLS`; such a plan is a mistake or an attack.
        """
        if len(self.asked) + len(batch) > MOST_CALLS:
            raise PlanRefused(
                f"The preset needs more than {MOST_CALLS:,} calls. Use fewer proposers, samples or layers."
            )
        return Rehearsal((*self.asked, *batch), self.rounds + rounds)


def rehearse(flow: Flow) -> Rehearsal:
    """Play `flow` to its end, or to where it fails for want of real drafts.

    Raises:
        PlanRefused: it makes more than `MOST_CALLS` calls.
    """
    rehearsal = Rehearsal()
    try:
        batch = next(flow)
        while True:
            rehearsal = _after(rehearsal, batch)
            batch = flow.send([_made_up(call) for call in batch.asked])
    except (StopIteration, RunFailed):
        return rehearsal


def _after(rehearsal: Rehearsal, batch: Batch) -> Rehearsal:
    inner = [rehearse(branch.flow()) for branch in batch.branches]
    calls = [_rehearsed(call) for call in batch.calls]
    calls.extend(call for one in inner for call in one.asked)
    return rehearsal.then(calls, max((one.rounds for one in inner), default=1))


def _rehearsed(call: Call) -> RehearsedCall:
    letters = sum(len(message.text) for message in call.messages)
    written = 0 if call.kind != "chat" else min(DRAFT_TOKENS, call.max_tokens or DRAFT_TOKENS)
    return RehearsedCall(call.model, -(-letters // LETTERS_PER_TOKEN), written)


def _made_up(call: Call) -> Outcome:
    """A draft like no other: alike ones might be taken for a consensus, and end the flow early."""
    if call.likely is not None:
        return Draft(call.likely.most, finish_reason="stop")
    if call.kind == "embedding":
        places = range(len(call.messages))
        return Draft(json.dumps([[float(place == one) for place in places] for one in places]))
    words = (hashlib.sha256(f"{call.id}/{part}".encode()).hexdigest() for part in range(_DRAFT_LETTERS // 64))
    return Draft(" ".join(words), finish_reason="stop")
