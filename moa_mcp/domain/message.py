"""One turn of a conversation with a model."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Speaker = Literal["system", "user", "assistant"]


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation.

    The messages before this one and its first `shared_chars` characters are the same in all layers of the run, so a
    provider can read them from its prompt cache. 0: nothing is known to be the same.
    """

    speaker: Speaker
    text: str
    shared_chars: int = field(default=0, compare=False)
