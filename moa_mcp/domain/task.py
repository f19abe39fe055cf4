"""The input of a run: the question, and the conversation before it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from moa_mcp.domain.message import Message

Output = Literal["answer", "guidance"]


@dataclass(frozen=True, slots=True)
class Given:
    """What a slot gives to the panel in it: the drafts of the layer before, remarks on them, and the slot's role."""

    drafts: tuple[str, ...] = ()
    remarks: str | None = None
    role: str | None = None


@dataclass(frozen=True, slots=True)
class Task:
    """The input of a panel: the question, the conversation before it, and the seed of the run's randomness.

    `context` is background text for the question. A model reads both as one turn (`user_turn` in prompts/panel.py);
    runs of earlier versions store both in `question`, already joined.
    `output` is the requested result: an answer, or guidance (the drafts, for a caller that is itself the
    aggregator). `seed` decides all that a method draws, and gives the `nonce` that marks the fences around drafts. So
    it is random for each run and never set by a caller: a draft that knows it could forge a fence.
    `known` holds texts by key that earlier flows of the same owner made and that can be reused.
    `embeddings` is the model that compares texts; without it, texts are compared by their words. `states_answer`, set
    by a flow, asks each draft for a closing line with its answer. `given` is empty, except for a panel in a slot of
    another: its first models read the drafts, and all that write keep to the role.
    """

    question: str
    system: str | None = None
    history: tuple[Message, ...] = ()
    output: Output = "answer"
    seed: int = 0
    known: Mapping[str, str] = field(default_factory=dict[str, str])
    embeddings: str | None = None
    context: str | None = None
    states_answer: bool = False
    given: Given = Given()

    @property
    def nonce(self) -> str:
        """The run's fence marker: 16 hexadecimal digits of its seed."""
        return f"{self.seed:016x}"[-16:]
