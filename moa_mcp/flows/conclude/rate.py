"""Best of N: a judge rates each draft alone, in a conversation of its own; the best rated is the answer."""

from __future__ import annotations

import re
from typing import Any

from moa_mcp import judging
from moa_mcp.flows.asking import ask_each, json_object, judge_call
from moa_mcp.flows.conclude.verbatim import first_whole, verbatim
from moa_mcp.flows.labels import ballot
from moa_mcp.flows.state import Conclusion, Reference, State
from moa_mcp.model import Batch, Call, Likely, Task
from moa_mcp.preset import Preset
from moa_mcp.stages import Rate

HIGHEST = 10

_LIKELY = Likely('{"score": 5}', '{"score": 5}')
# All repeats are bounded: what is searched is whatever a model wrote.
_NUMBER = re.compile(r"\W{0,9}?(-?\d{1,9}(?:\.\d{1,20})?)\s?(?:/\s?10)?\W{0,9}")
_SCORE = re.compile(
    r"\b(?:score|rating)\b[^\d-]{0,20}(-?\d{1,9}(?:\.\d{1,20})?)"
    r"|(-?\d{1,9}(?:\.\d{1,20})?)\s?(?:/|out of)\s?10\b",
    re.IGNORECASE,
)


def rate(task: Task, preset: Preset, state: State, spec: Rate) -> Conclusion:
    """Answer with the draft of the highest rating, of equal ones the first.

    A rating that cannot be read leaves its draft out; without any, the first whole draft is the answer.
    """
    calls = tuple(_call(task, preset, spec, reference) for reference in state.references)
    asked = yield from ask_each(Batch(preset.layers, calls), _read, _read_loosely)
    rated = dict(zip(state.numbers, asked, strict=True))
    facts: dict[str, Any] = {
        "scores": {str(number): one.value for number, one in rated.items()},
        "unread": {str(number): one.how for number, one in rated.items() if one.value is None},
    }
    scores = {number: one.value for number, one in rated.items() if one.value is not None}
    if scores:
        best = max(scores, key=lambda number: scores[number])
        chosen = next(reference for reference in state.references if reference.seat.number == best)
        lost = None
    else:
        chosen = first_whole(state.references)
        lost = "no rating could be read; the first whole draft is the answer"
    return verbatim(chosen, {"rate": {"chosen": chosen.seat.number, **facts}}, lost)


def _call(task: Task, preset: Preset, spec: Rate, reference: Reference) -> Call:
    number = reference.seat.number
    messages = judging.rate(task, ballot(task, "rate", [reference.text]).shown())
    return judge_call(
        preset,
        spec.model,
        messages,
        "judge",
        layer=preset.layers,
        slot=number,
        place=str(number),
        likely=_LIKELY,
    )


def _read(text: str) -> float | None:
    reply = json_object(text, "score")
    return _number(str(reply["score"])) if reply else None


def _read_loosely(text: str) -> float | None:
    if (score := _number(text)) is not None:
        return score
    found = _SCORE.findall(text)
    return _number("".join(found[-1])) if found else None


def _number(text: str) -> float | None:
    found = _NUMBER.fullmatch(text)
    score = float(found.group(1)) if found else -1.0
    return score if 0 <= score <= HIGHEST else None
