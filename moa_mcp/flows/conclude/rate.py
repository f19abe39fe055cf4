"""Best of N: a judge rates each draft alone, in a conversation of its own; the best rated is the answer."""

from __future__ import annotations

from typing import Any

from moa_mcp.domain.model import Batch, Call, Likely, Task
from moa_mcp.domain.preset import Preset
from moa_mcp.domain.stages import Rate
from moa_mcp.flows.candidates import ballot
from moa_mcp.flows.compare.scoring import read_score, read_score_loosely
from moa_mcp.flows.conclude.verbatim import first_whole, verbatim
from moa_mcp.flows.state import Conclusion, Reference, State
from moa_mcp.flows.structured_reply import ask_each, judge_call
from moa_mcp.prompts import judge as judge_prompts

_LIKELY = Likely('{"score": 5}', '{"score": 5}')


def rate(task: Task, preset: Preset, state: State, spec: Rate) -> Conclusion:
    """Answer with the draft of the highest rating, of equal ones the first.

    A rating that cannot be read leaves its draft out; without any, the first whole draft is the answer.
    """
    calls = tuple(_call(task, preset, spec, reference) for reference in state.references)
    asked = yield from ask_each(Batch(preset.layers, calls), read_score, read_score_loosely)
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
    messages = judge_prompts.rate(task, ballot(task, "rate", [reference.text]).shown())
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
