"""What one stage of a panel hands to the next: the seats, the drafts so far, and the facts of the method."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from moa_mcp.domain.model import Answer, Batch, Draft, Outcome
from moa_mcp.domain.preset import Slot
from moa_mcp.domain.text import clean
from moa_mcp.prompts.residual import passed_on
from moa_mcp.prompts.router import weights


@dataclass(frozen=True, slots=True)
class Seat:
    """A slot of the panel that takes part: its number from 1, who sits there, and what it alone is told.

    `weight` is how much the aggregator is told to make of it; None where the method has no weights.
    """

    number: int
    slot: Slot
    instruction: str | None = None
    weight: float | None = None

    def told(self, more: str) -> Seat:
        """This seat with more instructions behind those it has."""
        return replace(self, instruction="\n\n".join(part for part in (self.instruction, more) if part) or None)


@dataclass(frozen=True, slots=True)
class Reference:
    """A draft with the seat it came from."""

    seat: Seat
    draft: Draft

    @property
    def text(self) -> str:
        """What others read of the draft; an answer that is the draft itself is its own text."""
        return clean(self.draft.text)


@dataclass(frozen=True, slots=True)
class State:
    """Where a panel is. Stages return new states; nothing is changed in place.

    `seats` take part; those `waiting`, in line, do once a gate wakes them. `layer` is the last proposer layer
    that ran (0: none yet), `references` what it passes on, `before` what the layer before passed on. `extra` is
    text that every later reader of references is shown behind them. `residual` is what the last layer changed, and
    `standing` what is the answer if no later one can be written.
    `ended` says why no further layer is to run. `answer` is set once the method has one. `learned` are texts,
    by key, that later runs need not make again.
    """

    seats: tuple[Seat, ...]
    waiting: tuple[Seat, ...] = ()
    layer: int = 0
    references: tuple[Reference, ...] = ()
    before: tuple[Reference, ...] = ()
    extra: str | None = None
    residual: str | None = None
    standing: Draft | None = None
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

    @property
    def beside(self) -> str | None:
        """What readers of the references are told of them: their weights and the residual, if any, and `extra`."""
        told = weights(self._percents) if is_weighed([one.seat for one in self.references]) else None
        changed = passed_on(self.residual, self.numbers) if self.residual else None
        return "\n\n".join(part for part in (told, changed, self.extra) if part) or None

    @property
    def _percents(self) -> list[int]:
        heavy = [one.seat.weight or 0.0 for one in self.references]
        return [round(100 * weight / (sum(heavy) or 1.0)) for weight in heavy]

    def noting(self, *notes: str) -> State:
        """This state with more notes."""
        return replace(self, notes=(*self.notes, *notes)) if notes else self

    def telling(self, **facts: Any) -> State:
        """This state with more facts of the method; a fact of the same name is replaced."""
        return replace(self, facts={**self.facts, **facts})

    def logging(self, name: str, entry: Any) -> State:
        """This state with `entry` added to the list of facts `name`: for what happens in every layer."""
        return self.telling(**{name: [*self.facts.get(name, ()), entry]})


def is_weighed(seats: Sequence[Seat]) -> bool:
    """Whether a gate gave each of `seats` its weight."""
    return bool(seats) and all(seat.weight is not None for seat in seats)


Stage: TypeAlias = Generator[Batch, Sequence[Outcome], State]
"""A part of a flow: it may yield batches, and returns the state it leaves."""

Conclusion: TypeAlias = Generator[Batch, Sequence[Outcome], Answer]
"""The last part of a flow."""


def nothing_asked() -> Iterator[Batch]:
    """No batches: `yield from` it makes a generator of a stage that needs no call."""
    return iter(())
