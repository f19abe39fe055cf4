"""Asking a model for a reply of fixed form: read leniently, asked once more, and then given up on, never raised.

Every judge, moderator, critic and router of the methods asks through here, so that a model that answers out
of form costs one more call and then takes the documented fallback, which the result tells.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeAlias, TypeVar

from moa_mcp.model import Batch, Call, Draft, Failure, Message, Outcome

Form = TypeVar("Form")
Read = Callable[[str], Form | None]
"""Reads a reply; None when it is not of the form that was asked for."""


@dataclass(frozen=True, slots=True)
class Asked(Generic[Form]):
    """What came of asking: the reply as read (None: nothing usable came) and how it was come by."""

    value: Form | None
    how: str


Asking: TypeAlias = Generator[Batch, Sequence[Outcome], list[Asked[Form]]]

AGAIN = "Your reply was not of the form that was asked for. Reply with that form alone and nothing around it."


def ask_each(batch: Batch, read: Read[Form]) -> Asking[Form]:
    """Ask all calls of `batch` side by side, and those that answer out of form once more.

    Returns, in the order of the calls, what was read; `how` is "first try", "second try", "out of form" or
    the plain words of a failure.
    """
    outcomes = yield batch
    asked = [_read(outcome, read) for outcome in outcomes]
    again = [
        (index, _once_more(call, outcome))
        for index, (call, outcome) in enumerate(zip(batch.calls, outcomes, strict=True))
        if asked[index].value is None and isinstance(outcome, Draft)
    ]
    if again:
        second = yield replace(batch, calls=tuple(call for _, call in again))
        for (index, _), outcome in zip(again, second, strict=True):
            asked[index] = _read(outcome, read, how="second try")
    return asked


def ask(
    call: Call, read: Read[Form], *, until: float = 1.0
) -> Generator[Batch, Sequence[Outcome], Asked[Form]]:
    """Ask one call; see `ask_each`."""
    (asked,) = yield from ask_each(Batch(call.layer, (call,), until=until), read)
    return asked


def json_object(text: str) -> Mapping[str, Any] | None:
    """The first JSON object in `text`, whatever stands around it; None if there is none."""
    decoder = json.JSONDecoder()
    for opening in re.finditer(r"\{", text):
        try:
            value, _ = decoder.raw_decode(text, opening.start())
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict):
            return value
    return None


def _read(outcome: Outcome, read: Read[Form], how: str = "first try") -> Asked[Form]:
    if isinstance(outcome, Failure):
        return Asked(None, str(outcome))
    value = read(outcome.text)
    return Asked(value, how if value is not None else "out of form")


def _once_more(call: Call, outcome: Outcome) -> Call:
    said = outcome.text if isinstance(outcome, Draft) else ""
    turns = (Message("assistant", said), Message("user", AGAIN))
    return replace(call, id=f"{call.id}.again", messages=(*call.messages, *turns))
