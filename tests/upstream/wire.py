"""What a dialect has to say of an answer: the seam between one `Reply` and two wire formats."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Protocol

from tests.upstream.reply import Reply
from tests.upstream.request import Request


class Part(Enum):
    """Which part of a stream an event is; a fault chooses by it where to strike."""

    OPENING = auto()
    THOUGHT = auto()
    PIECE = auto()
    FINISH = auto()
    END = auto()


@dataclass(frozen=True, slots=True)
class Event:
    """One server-sent event, as its bytes."""

    part: Part
    data: bytes


class Wire(Protocol):
    """How one dialect puts an answer, or a fault, on the wire."""

    def events(self, request: Request, reply: Reply) -> Iterator[Event]:
        """Give the events of a streamed answer, in order."""
        ...

    def piece(self, request: Request, reply: Reply, text: str) -> Event:
        """Give the event that carries one delta of the text."""
        ...

    def body(self, request: Request, reply: Reply) -> dict[str, Any]:
        """Give the JSON of an answer that is not streamed."""
        ...

    def hollow_events(self, request: Request, reply: Reply) -> Iterator[Event]:
        """Give the events of a complete answer that has no content: no choice, no block."""
        ...

    def hollow_body(self, request: Request, reply: Reply) -> dict[str, Any]:
        """Give the same as JSON."""
        ...

    def error(self, status: int, message: str, code: str | None) -> dict[str, Any]:
        """Give the JSON of an error; `code` is the provider's own word for it, beside the status."""
        ...

    def error_event(self, status: int, message: str, code: str | None) -> bytes:
        """Give the event that ends a stream with an error."""
        ...
