"""Ask a model for a reply in a fixed form: read it leniently, ask once more, then give up without an exception.

All judges, moderators, critics and routers ask through this module. A malformed reply costs one more call; after
that the method uses its documented fallback, and the result reports it.
"""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeAlias, TypeGuard, TypeVar

from moa_mcp.domain.fields import ModelSettings
from moa_mcp.domain.model import Batch, Call, ChatCall, Draft, DryRunReplies, Message, Outcome
from moa_mcp.domain.preset import Preset
from moa_mcp.domain.sampling import UNSET, FrozenDict, without_settings
from moa_mcp.domain.text import one_line, strip_invisible
from moa_mcp.flows.calls import make_call
from moa_mcp.prompts.judge import REPEAT_REQUEST, arrange_examination
from moa_mcp.prompts.style import is_strong

Value = TypeVar("Value")

MAX_BRACES = 300
"""How many of the last braces in a reply are tried as the start of an object: hostile ones must not cost seconds."""

MAX_REASON_CHARS = 300
"""How many characters of a judge's reason are kept."""

MAX_ECHO_CHARS = 4_000
"""How many characters of a malformed reply are sent back to its model."""

_DECODER = json.JSONDecoder(strict=False)  # models put real line breaks into strings


@dataclass(frozen=True, slots=True)
class Form(Generic[Value]):
    """The required form of a reply: how it is read, and which replies a dry run uses.

    `strict` reads a reply in the requested form. `lenient` reads a verdict in prose: a reply that `strict` cannot read
    and that has no JSON object. Both return None if they fail. Without `dry_run`, any text is a valid reply.
    """

    strict: Callable[[str], Value | None]
    lenient: Callable[[str], Value | None] | None = None
    dry_run: DryRunReplies | None = None

    @property
    def is_json(self) -> bool:
        """Whether the requested form is a JSON object."""
        return self.dry_run is not None and str(self.dry_run.most).startswith("{")


@dataclass(frozen=True, slots=True)
class FormReply(Generic[Value]):
    """The result of asking: the value that was read (None: nothing usable), and in `outcome` how it was obtained.

    `outcome` is "first try" or "second try", followed by ", read loosely" if `lenient` read it; or "out of form"; or
    the text of a failure. `unfinished` says why the reply is not whole, as the end of a sentence; empty if it is.
    """

    value: Value | None
    outcome: str
    unfinished: str = ""


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
) -> ChatCall:
    """Build the call to a stage's own model, or else to the preset's aggregator without its role text.

    Its id is "{layer}.{role}", followed by ".{place}" if a stage makes several such calls.
    """
    asked = judge or preset.aggregator
    own_role = judge.role if judge is not None else None
    return make_call(
        asked,
        arrange_examination(messages, preset.prompt_style, asked.model, own_role),
        f"{layer}.{role}{f'.{place}' if place else ''}",
        role,
        layer=layer,
        slot=slot,
    )


def ask_forms(batch: Batch, form: Form[Value]) -> AskingForms[Value]:
    """Make all calls of `batch` in parallel, and repeat those whose reply is malformed once.

    Returns the values that were read, in the order of the calls. A call that failed is not repeated. The repeat also
    fails if the run's limit leaves no call for it.
    """
    calls = tuple(_asking_for(form, call) for call in batch.calls)
    batch = replace(batch, calls=calls, dry_run_replies=form.dry_run)
    outcomes = (yield batch) if batch.calls else ()
    replies = [_form_reply(outcome, "first try", form) for outcome in outcomes]
    repeats = [
        (index, repeat(call, outcome))
        for index, (call, outcome) in enumerate(zip(batch.calls, outcomes, strict=True))
        if replies[index].value is None and isinstance(outcome, Draft)
    ]
    if repeats:
        outcomes = yield replace(batch, calls=tuple(call for _, call in repeats))
        for (index, _), outcome in zip(repeats, outcomes, strict=True):
            replies[index] = _form_reply(outcome, "second try", form)
    return replies


_JSON_MODE = FrozenDict({"type": "json_object"})


def _asking_for(form: Form[Value], call: Call) -> Call:
    """The call without a preset's own settings for the form of replies, and in JSON mode where that helps.

    A small model fills an object of its own making in JSON mode, and is in form more often without: docs/methods.md.
    """
    if not isinstance(call, ChatCall):
        return call
    plain = without_settings(call, "stop", "response_format")
    if not form.is_json or not is_strong(call.model):
        return plain
    return replace(plain, sampling=replace(plain.sampling or UNSET, response_format=_JSON_MODE))


def ask_form(
    call: Call, form: Form[Value], *, until: float = 1.0
) -> Generator[Batch, Sequence[Outcome], FormReply[Value]]:
    """Make one call; see `ask_forms`."""
    (reply,) = yield from ask_forms(Batch(call.layer, (call,), until=until), form)
    return reply


def json_object(text: str, *keys: str) -> Mapping[str, Any] | None:
    """The last JSON object in `text` that has all of `keys`, with any text around it; None if there is none.

    The object's top-level keys are in lower case, with underscores for spaces and hyphens.
    """
    found: Mapping[str, Any] | None = None
    end = 0
    for brace in deque(re.finditer(r"\{", text), maxlen=MAX_BRACES):
        if brace.start() < end:
            continue  # inside the object that was found
        value, after = _decode_object(text, brace.start())
        if value and all(key in value for key in keys):
            found, end = value, after
    return found


def is_list(value: Any) -> TypeGuard[list[Any]]:
    """Whether a value in a reply is a list."""
    return isinstance(value, list)


def is_object(value: Any) -> TypeGuard[dict[str, Any]]:
    """Whether a value in a reply is an object."""
    return isinstance(value, dict)


def reason_of(reply: Mapping[str, Any]) -> str:
    """The reason in a reply, shortened for the facts of a run; empty if there is none."""
    return one_line(str(reply.get("reason", "")), MAX_REASON_CHARS)


def _decode_object(text: str, place: int) -> tuple[dict[str, Any], int]:
    """The JSON object that begins at `place`, and where it ends; an empty object if there is none."""
    try:
        value, end = _DECODER.raw_decode(text, place)
    except (ValueError, RecursionError):
        return {}, place
    normalized = {re.sub(r"[\s-]+", "_", key.strip().lower()): item for key, item in value.items()}
    return normalized, end


def _form_reply(outcome: Outcome, words: str, form: Form[Value]) -> FormReply[Value]:
    if not isinstance(outcome, Draft):
        return FormReply(None, str(outcome))
    text = strip_invisible(outcome.text)
    if (value := form.strict(text)) is not None:
        return FormReply(value, words, outcome.unfinished)
    # A reply with a JSON object is not prose: letters in the object's reason are not a verdict.
    if form.lenient is not None and json_object(text) is None:
        value = form.lenient(text)
    return FormReply(value, f"{words}, read loosely") if value is not None else FormReply(None, "out of form")


def repeat(call: Call, outcome: Outcome) -> Call:
    """The call once more, with its malformed reply and a request for the form."""
    value = strip_invisible(outcome.text[-MAX_ECHO_CHARS:]) if isinstance(outcome, Draft) else ""
    # Providers refuse an empty turn, so after an empty reply the same messages are sent again.
    turns = (Message("assistant", value), Message("user", REPEAT_REQUEST)) if value.strip() else ()
    return replace(call, id=f"{call.id}.again", repeat_of=call.id, messages=(*call.messages, *turns))
