"""What one stage of a panel hands to the next: the seats, the drafts so far, and the facts of the method."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from moa_mcp.model import Answer, Batch, Draft, Outcome
from moa_mcp.preset import Slot


@dataclass(frozen=True, slots=True)
class Seat:
    """A slot of the panel that takes part: its number from 1, who sits there, and what it alone is told.

    `weight` is how much the aggregator is told to make of it; None where the method has no weights.
    """

    number: int
    slot: Slot
    instruction: str | None = None
    weight: float | None = None


@dataclass(frozen=True, slots=True)
class Reference:
    """A draft with the seat it came from."""

    seat: Seat
    draft: Draft

    @property
    def text(self) -> str:
        return self.draft.text


@dataclass(frozen=True, slots=True)
class State:
    """Where a panel is. Stages return new states; nothing is changed in place.

    `layer` is the last proposer layer that ran (0: none yet), `references` what it passes on, `before` what
    the layer before passed on. `extra` is text that every later reader of references is shown behind them.
    `ended` says why no further layer is to run. `answer` is set once the method has one. `learned` are texts,
    by key, that later runs need not make again.
    """

    seats: tuple[Seat, ...]
    layer: int = 0
    references: tuple[Reference, ...] = ()
    before: tuple[Reference, ...] = ()
    extra: str | None = None
    ended: str | None = None
    answer: Answer | None = None
    degraded: bool = False
    notes: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict[str, Any])
    learned: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def texts(self) -> list[str]:
        """The texts of the references, in order."""
        return [reference.text for reference in self.references]

    @property
    def numbers(self) -> list[int]:
        """The numbers of the seats that the references came from, in order."""
        return [reference.seat.number for reference in self.references]

    def noting(self, *notes: str) -> State:
        """This state with more notes."""
        return replace(self, notes=(*self.notes, *notes))

    def telling(self, **facts: Any) -> State:
        """This state with more facts of the method; a fact of the same name is replaced."""
        return replace(self, facts={**self.facts, **facts})

    def logging(self, name: str, entry: Any) -> State:
        """This state with `entry` added to the list of facts `name`: for what happens in every layer."""
        return self.telling(**{name: [*self.facts.get(name, ()), entry]})


Stage: TypeAlias = Generator[Batch, Sequence[Outcome], State]
"""A part of a flow: it may yield batches, and returns the state it leaves."""

Conclusion: TypeAlias = Generator[Batch, Sequence[Outcome], Answer]
"""The last part of a flow."""


def nothing_asked() -> Iterator[Batch]:
    """No batches: `yield from` it makes a generator of a stage that needs no call."""
    return iter(())
