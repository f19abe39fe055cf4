"""Runs a flow step by step, without an event loop or a provider, and records every batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from moa_mcp.domain.model import Answer, Batch, Call, Draft, Flow, Outcome

Reply = Callable[[Call], str | Outcome]
"""Returns the reply to a call: the text of a draft, or a whole outcome."""


@dataclass(frozen=True, slots=True)
class Played:
    """The result of a flow that ended: its answer, and the batches it yielded."""

    answer: Answer
    batches: tuple[Batch, ...]

    @property
    def calls(self) -> tuple[Call, ...]:
        """The calls of all batches, in order."""
        return tuple(call for batch in self.batches for call in batch.calls)


def drive(flow: Flow, reply: Reply) -> Played:
    """Run `flow` to its answer, with the replies of `reply`. Errors that the flow raises are not caught."""
    batches: list[Batch] = []
    batch = next(flow)
    while True:
        batches.append(batch)
        try:
            batch = flow.send([_outcome(reply(call)) for call in batch.calls])
        except StopIteration as stop:
            return Played(stop.value, tuple(batches))


def _outcome(replied: str | Outcome) -> Outcome:
    return Draft(replied, finish_reason="stop") if isinstance(replied, str) else replied
