"""Asking a model for a reply of fixed form: read leniently, asked once more, then given up on, never raised.

Every judge, moderator, critic and router of the methods asks through here, so that a model that answers out
of form costs one more call and then takes the documented fallback, which the result tells.
"""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeAlias, TypeGuard, TypeVar

from moa_mcp.domain.fields import ModelSettings
from moa_mcp.domain.model import Batch, Call, Draft, DryRunReplies, Failure, Message, Outcome
from moa_mcp.domain.preset import Preset
from moa_mcp.domain.text import one_line, strip_invisible
from moa_mcp.flows.calls import make_call
from moa_mcp.prompts.judge import REPEAT_REQUEST

Value = TypeVar("Value")

MAX_BRACES = 300
"""At how many braces, the last of a reply, an object is looked for: hostile ones must not cost seconds."""

MAX_REASON_CHARS = 300
"""Characters of a judge's reason that are kept."""

MAX_ECHO_CHARS = 4_000
"""Characters of a reply out of form that its model is shown again."""

_DECODER = json.JSONDecoder(strict=False)  # models put real line breaks into strings


@dataclass(frozen=True, slots=True)
class Form(Generic[Value]):
    """The form that a reply has to have: how it is read, and what a dry run answers with.

    `strict` reads a reply as it was asked for, `lenient` one that `strict` cannot read and that has no JSON object:
    a verdict in prose. Each returns None if it cannot. Without `dry_run` any words will do.
    """

    strict: Callable[[str], Value | None]
    lenient: Callable[[str], Value | None] | None = None
    dry_run: DryRunReplies | None = None


@dataclass(frozen=True, slots=True)
class FormReply(Generic[Value]):
    """What came of asking: the reply as read (None: nothing usable came), and in `outcome` how it was obtained.

    That is "first try" or "second try", with ", read loosely" behind it where `lenient` read it; "out of form"; or
    the plain words of a failure.
    """

    value: Value | None
    outcome: str


AskingForms: TypeAlias = Generator[Batch, Sequence[Outcome], list[FormReply[Value]]]


def judge_call(
    preset: Preset,
    judge: ModelSettings | None,
    messages: Sequence[Message],
    role: str,
    *,
    layer: int,
    slot: int = 1,
    place: str = "",
) -> Call:
    """The call to a stage's own model, or else to the preset's aggregator, but not in its role as a writer.

    Its id is "{layer}.{role}", with `place` behind it where a stage asks several.
    """
    own = (Message("system", judge.role),) if judge is not None and judge.role else ()
    return make_call(
        judge or preset.aggregator,
        (*own, *messages),
        f"{layer}.{role}{f'.{place}' if place else ''}",
        role,
        layer=layer,
        slot=slot,
    )


def ask_forms(batch: Batch, form: Form[Value]) -> AskingForms[Value]:
    """Ask all calls of `batch` side by side, and those that answer out of form once more.

    Returns what was read, in the order of the calls. A failure is that of the first try, or of the second, which
    also fails where the run has no call to spare for it.
    """
    batch = replace(batch, dry_run_replies=form.dry_run)
    outcomes = (yield batch) if batch.calls else ()
    reply = [_form_reply(outcome, "first try", form) for outcome in outcomes]
    again = [
        (index, _repeat(call, outcome))
        for index, (call, outcome) in enumerate(zip(batch.calls, outcomes, strict=True))
        if reply[index].value is None and isinstance(outcome, Draft)
    ]
    if again:
        second = yield replace(batch, calls=tuple(call for _, call in again))
        for (index, _), outcome in zip(again, second, strict=True):
            reply[index] = _form_reply(outcome, "second try", form)
    return reply


def ask_form(
    call: Call, form: Form[Value], *, until: float = 1.0
) -> Generator[Batch, Sequence[Outcome], FormReply[Value]]:
    """Ask one call; see `ask_forms`."""
    (reply,) = yield from ask_forms(Batch(call.layer, (call,), until=until), form)
    return reply


def json_object(text: str, *keys: str) -> Mapping[str, Any] | None:
    """The last JSON object in `text` that has all of `keys`, whatever stands around it; None without one.

    Its own keys come in lower case, with underscores for spaces and hyphens.
    """
    found: Mapping[str, Any] | None = None
    end = 0
    for brace in deque(re.finditer(r"\{", text), maxlen=MAX_BRACES):
        if brace.start() < end:
            continue  # a part of what was found
        value, behind = _decode_object(text, brace.start())
        if value and all(key in value for key in keys):
            found, end = value, behind
    return found


def is_list(value: Any) -> TypeGuard[list[Any]]:
    """Whether what a reply has in some place is a list."""
    return isinstance(value, list)


def is_object(value: Any) -> TypeGuard[dict[str, Any]]:
    """Whether what a reply has in some place is an object."""
    return isinstance(value, dict)


def reason_of(reply: Mapping[str, Any]) -> str:
    """What a reply gives as its reason, short enough for the facts of a run; empty if it gives none."""
    return one_line(str(reply.get("reason", "")), MAX_REASON_CHARS)


def _decode_object(text: str, place: int) -> tuple[dict[str, Any], int]:
    """The object that begins at `place`, and where it ends; an empty one if there is none."""
    try:
        value, end = _DECODER.raw_decode(text, place)
    except (ValueError, RecursionError):
        return {}, place
    tidy = {re.sub(r"[\s-]+", "_", key.strip().lower()): said for key, said in value.items()}
    return tidy, end


def _form_reply(outcome: Outcome, words: str, form: Form[Value]) -> FormReply[Value]:
    if isinstance(outcome, Failure):
        return FormReply(None, str(outcome))
    text = strip_invisible(outcome.text)
    if (value := form.strict(text)) is not None:
        return FormReply(value, words)
    # An object that says the wrong thing is no prose: letters in its reason are not its verdict.
    if form.lenient is not None and json_object(text) is None:
        value = form.lenient(text)
    return FormReply(value, f"{words}, read loosely") if value is not None else FormReply(None, "out of form")


def _repeat(call: Call, outcome: Outcome) -> Call:
    value = strip_invisible(outcome.text[-MAX_ECHO_CHARS:]) if isinstance(outcome, Draft) else ""
    # Providers refuse a turn without words: a model that said nothing is asked the same again.
    turns = (Message("assistant", value), Message("user", REPEAT_REQUEST)) if value.strip() else ()
    return replace(call, id=f"{call.id}.again", repeat_of=call.id, messages=(*call.messages, *turns))
