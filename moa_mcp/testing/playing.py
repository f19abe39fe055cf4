"""Driving a flow by hand: no event loop, no provider, every step in view."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from moa_mcp.domain.model import Answer, Batch, Call, Draft, Failure, Flow, Outcome

Reply = Callable[[Call], str | Draft | Failure]
"""What a model says to a call: a text, a whole draft, or a failure."""


@dataclass(frozen=True, slots=True)
class Played:
    """A flow that was played to its end: its answer, and the batches it asked for."""

    answer: Answer
    batches: tuple[Batch, ...]

    @property
    def calls(self) -> tuple[Call, ...]:
        """Every call that was asked for, in order."""
        return tuple(call for batch in self.batches for call in batch.calls)


def drive(flow: Flow, reply: Reply) -> Played:
    """Play `flow` with the words of `reply` until it answers. What the flow raises passes through."""
    batches: list[Batch] = []
    batch = next(flow)
    while True:
        batches.append(batch)
        try:
            batch = flow.send([_outcome(reply(call)) for call in batch.calls])
        except StopIteration as stop:
            return Played(stop.value, tuple(batches))


def _outcome(said: str | Draft | Failure) -> Outcome:
    return Draft(said, finish_reason="stop") if isinstance(said, str) else said
