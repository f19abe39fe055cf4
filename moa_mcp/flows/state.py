"""What one stage of a panel hands to the next: the participants, the drafts so far, and the facts of the method."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from moa_mcp.domain.model import Answer, Batch, Draft, Outcome
from moa_mcp.domain.preset import Slot
from moa_mcp.domain.text import strip_invisible
from moa_mcp.prompts.residual import residual_note
from moa_mcp.prompts.router import weights_note


@dataclass(frozen=True, slots=True)
class Participant:
    """A slot of the panel that takes part: its number from 1, who sits there, and what it alone is told.

    `weight` is how much the aggregator is told to make of it; None where the method has no weights.
    """

    number: int
    slot: Slot
    instruction: str | None = None
    weight: float | None = None

    def with_instruction(self, more: str) -> Participant:
        """This participant with more instructions behind those it has."""
        return replace(self, instruction="\n\n".join(part for part in (self.instruction, more) if part) or None)


@dataclass(frozen=True, slots=True)
class Reference:
    """A draft with the participant it came from."""

    participant: Participant
    draft: Draft
    text: str = field(init=False, repr=False, compare=False)
    """What others read of the draft; an answer that is the draft itself is its own text."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "text", strip_invisible(self.draft.text))


@dataclass(frozen=True, slots=True)
class State:
    """Where a panel is. Stages return new states; nothing is changed in place.

    `participants` take part; those `reserve`, in line, do once a gate wakes them. `layer` is the last proposer layer
    that ran (0: none yet), `references` what it passes on, `previous` what the layer before passed on. `extra` is
    text that every later reader of references is shown behind them. `residual` is what the last layer changed, and
    `fallback_answer` what is the answer if no later one can be written.
    `ended` says why no further layer is to run. `answer` is set once the method has one. `learned` are texts,
    by key, that later runs need not make again.
    """

    participants: tuple[Participant, ...]
    reserve: tuple[Participant, ...] = ()
    layer: int = 0
    references: tuple[Reference, ...] = ()
    previous: tuple[Reference, ...] = ()
    extra: str | None = None
    residual: str | None = None
    fallback_answer: Draft | None = None
    stop_reason: str | None = None
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
        """The numbers of the participants that the references came from, in order."""
        return [reference.participant.number for reference in self.references]

    @property
    def reader_notes(self) -> str | None:
        """What readers of the references are told of them: their weights and the residual, if any, and `extra`."""
        told = weights_note(self._percents) if has_weights([one.participant for one in self.references]) else None
        changed = residual_note(self.residual, self.numbers) if self.residual else None
        return "\n\n".join(part for part in (told, changed, self.extra) if part) or None

    @property
    def _percents(self) -> list[int]:
        heavy = [one.participant.weight or 0.0 for one in self.references]
        return [round(100 * weight / (sum(heavy) or 1.0)) for weight in heavy]

    def with_notes(self, *notes: str) -> State:
        """This state with more notes."""
        return replace(self, notes=(*self.notes, *notes)) if notes else self

    def with_facts(self, **facts: Any) -> State:
        """This state with more facts of the method; a fact of the same name is replaced."""
        return replace(self, facts={**self.facts, **facts})

    def with_log_entry(self, name: str, entry: Any) -> State:
        """This state with `entry` added to the list of facts `name`: for what happens in every layer."""
        return self.with_facts(**{name: [*self.facts.get(name, ()), entry]})


def has_weights(participants: Sequence[Participant]) -> bool:
    """Whether a gate gave each of `participants` its weight."""
    return bool(participants) and all(participant.weight is not None for participant in participants)


Stage: TypeAlias = Generator[Batch, Sequence[Outcome], State]
"""A part of a flow: it may yield batches, and returns the state it leaves."""

Conclusion: TypeAlias = Generator[Batch, Sequence[Outcome], Answer]
"""The last part of a flow."""


def no_calls() -> Iterator[Batch]:
    """No batches: `yield from` it makes a generator of a stage that needs no call."""
    return iter(())
