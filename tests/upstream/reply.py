"""A model's answer as a test writes it down: one value, whatever the dialect it is asked for in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Reply:
    """A good answer.

    `pieces` is into how many deltas `text` is cut, or the deltas themselves (then `text` is not looked at):
    so an emoji can be cut into its surrogate halves. `model` is the model that says it answered; None:
    the one that was asked for. `finish_reason` is worded as OpenAI does and translated for Anthropic;
    None: the stream never says why it ends. Without both token counts no usage is sent. `usage_report` is sent as
    the usage in its place, and `first_usage` in the place of the one that opens an Anthropic stream. `delay` is
    the seconds before the headers, `delay_per_piece` those before each delta. `split` is the number of bytes
    per TCP write. `comments` is how many keep-alive comments go before each delta.
    """

    text: str = "The answer is 42, and here is why: it follows from the question."
    pieces: int | tuple[str, ...] = 4
    thinking: str = ""
    refusal: str = ""
    model: str | None = None
    finish_reason: str | None = "stop"
    input_tokens: int | None = 10
    output_tokens: int | None = 20
    usage_report: Mapping[str, Any] | None = None
    first_usage: Mapping[str, Any] | None = None
    delay: float = 0
    delay_per_piece: float = 0
    split: int | None = None
    comments: int = 0
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def deltas(self) -> tuple[str, ...]:
        """The answer, in the parts it is sent in."""
        return _cut(self.text, self.pieces) if isinstance(self.pieces, int) else self.pieces

    @property
    def thoughts(self) -> tuple[str, ...]:
        """The thinking before the answer, in the parts it is sent in."""
        return _cut(self.thinking, self.pieces if isinstance(self.pieces, int) else len(self.pieces))

    @property
    def usage(self) -> tuple[int, int] | None:
        """Input and output tokens, when both are given."""
        if self.input_tokens is None or self.output_tokens is None:
            return None
        return self.input_tokens, self.output_tokens


def _cut(text: str, pieces: int) -> tuple[str, ...]:
    size = -(-len(text) // max(pieces, 1)) or 1
    return tuple(text[start : start + size] for start in range(0, len(text), size))
