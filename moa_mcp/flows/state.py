"""The state that one stage of a panel passes to the next: participants, drafts so far, facts of the method."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from moa_mcp.domain.model import Answer, Batch, Draft, Outcome
from moa_mcp.domain.preset import Slot
from moa_mcp.domain.shortfalls import NONE, LostDraft, Shortfall, Shortfalls, merge_lost
from moa_mcp.domain.text import strip_invisible
from moa_mcp.flows.structured_reply import is_object
from moa_mcp.prompts.residual import residual_note
from moa_mcp.prompts.router import weights_note
from moa_mcp.prompts.solver import sources_note

SOURCE = "source"
"""The fact of a method in a slot that says how its draft came about, for the readers of the draft."""


@dataclass(frozen=True, slots=True)
class Participant:
    """A slot of the panel that takes part: its number from 1, its model or method, and its own instruction.

    `weight` is the weight of its draft in the aggregator's prompt; None if the method has no weights.
    """

    number: int
    slot: Slot
    instruction: str | None = None
    weight: float | None = None

    def with_instruction(self, more: str) -> Participant:
        """This participant with `more` appended to its instruction."""
        return replace(self, instruction="\n\n".join(part for part in (self.instruction, more) if part) or None)


@dataclass(frozen=True, slots=True)
class Reference:
    """A draft and the participant that wrote it."""

    participant: Participant
    draft: Draft
    text: str = field(init=False, repr=False, compare=False)
    """The draft without invisible characters, as other models read it."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "text", strip_invisible(self.draft.text))

    @property
    def source(self) -> str | None:
        """How a method in the slot came to the draft; None if no method wrote it."""
        facts = (one[SOURCE] for one in self.draft.method.values() if is_object(one) and SOURCE in one)
        return next(map(str, facts), None)


@dataclass(frozen=True, slots=True)
class State:
    """The progress of a panel. Stages return new states; a state is never changed in place.

    `participants` take part; a gate may add those in `reserve`, in that order. `layer` is the last proposer layer that
    ran (0: none yet), `written` are its drafts, `references` those that it passes on, `previous` those that the layer
    before passed on. After a residual was extracted, an aggregator gets the latter (`before_change`).
    `extra` is text that every later reader of the references gets after them. `residual` describes what the last layer
    changed. `ranked` are the references as a judge ranked them, the best first; empty if none did. `fallback_answer`
    is the answer if no later one can be written; it merges the drafts of `merged_layer`. `stop_reason` says why no
    further layer runs. `answer` is set once the method has one. `learned` holds texts, by key, that later runs can
    reuse. `shortfalls` and `lost` say what the answer will lack.
    """

    participants: tuple[Participant, ...]
    reserve: tuple[Participant, ...] = ()
    layer: int = 0
    references: tuple[Reference, ...] = ()
    written: tuple[Reference, ...] = ()
    previous: tuple[Reference, ...] = ()
    before_change: bool = False
    extra: str | None = None
    residual: str | None = None
    ranked: tuple[Reference, ...] = ()
    fallback_answer: Draft | None = None
    merged_layer: int = 0
    stop_reason: str | None = None
    answer: Answer | None = None
    shortfalls: Shortfalls = NONE
    lost: tuple[LostDraft, ...] = ()
    notes: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict[str, Any])
    learned: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def texts(self) -> list[str]:
        """The texts of the references, in order."""
        return [reference.text for reference in self.references]

    @property
    def numbers(self) -> list[int]:
        """The numbers of the participants that wrote the references, in order."""
        return [reference.participant.number for reference in self.references]

    @property
    def reader_notes(self) -> str | None:
        """Text for the readers of the references: weights, sources, the residual and `extra`, as far as each exists."""
        weights = weights_note(self._percents) if has_weights([one.participant for one in self.references]) else None
        missing = [number for number in map(_number, self.previous) if number not in self.numbers]
        changes = (
            residual_note(self.residual, self.numbers, missing, before=self.before_change) if self.residual else None
        )
        sources = [one.source for one in self.references]
        origins = sources_note([source or "a direct reply" for source in sources]) if any(sources) else None
        return "\n\n".join(part for part in (weights, origins, changes, self.extra) if part) or None

    @property
    def _percents(self) -> list[int]:
        raw_weights = [one.participant.weight or 0.0 for one in self.references]
        return [round(100 * weight / (sum(raw_weights) or 1.0)) for weight in raw_weights]

    def with_notes(self, *notes: str) -> State:
        """This state with more notes."""
        return replace(self, notes=(*self.notes, *notes)) if notes else self

    def with_shortfalls(self, *found: Shortfall) -> State:
        """This state with more shortfalls."""
        return replace(self, shortfalls=self.shortfalls.union(found)) if found else self

    def with_lost(self, lost: Iterable[LostDraft]) -> State:
        """This state with more lost drafts."""
        return replace(self, lost=merge_lost(self.lost, lost))

    def with_facts(self, **facts: Any) -> State:
        """This state with more facts of the method; they replace facts of the same name."""
        return replace(self, facts={**self.facts, **facts})

    def with_log_entry(self, name: str, entry: Any) -> State:
        """This state with `entry` appended to the list in fact `name`, for facts that each layer adds to."""
        return self.with_facts(**{name: [*self.facts.get(name, ()), entry]})


def _number(reference: Reference) -> int:
    return reference.participant.number


def has_weights(participants: Sequence[Participant]) -> bool:
    """Whether each of `participants` has a weight from a gate."""
    return bool(participants) and all(participant.weight is not None for participant in participants)


Stage: TypeAlias = Generator[Batch, Sequence[Outcome], State]
"""A part of a flow: it may yield batches, and returns the new state."""

Conclusion: TypeAlias = Generator[Batch, Sequence[Outcome], Answer]
"""The last part of a flow."""


def no_calls() -> Iterator[Batch]:
    """An empty iterator: `yield from no_calls()` turns a function without calls into a generator."""
    return iter(())
