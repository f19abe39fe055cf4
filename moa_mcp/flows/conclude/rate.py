"""Best of N: a judge rates each draft in a separate call; the draft with the best rating is the answer."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

from pydantic import Field

from moa_mcp.domain.fields import ModelSettingsOrId
from moa_mcp.domain.model import Batch, Call, DryRunReplies, Task
from moa_mcp.domain.preset import Preset
from moa_mcp.domain.stages import CONCLUDES, ConcludeSpec
from moa_mcp.flows import schedule
from moa_mcp.flows.candidates import label_candidates, shuffled_order
from moa_mcp.flows.compare.scoring import read_score, read_score_loosely
from moa_mcp.flows.conclude.take import draft_as_answer, first_complete
from moa_mcp.flows.state import Conclusion, Reference, State
from moa_mcp.flows.structured_reply import Form, ask_forms, judge_call
from moa_mcp.prompts import judge as judge_prompts

_FORM = Form(read_score, read_score_loosely, DryRunReplies('{"score": 5}', '{"score": 5}'))


class Rate(ConcludeSpec):
    """A judge rates each draft alone from 0 to 10; the best rated is the answer (best of N)."""

    by: Literal["rate"]
    model: ModelSettingsOrId | None = Field(
        default=None, description="The model that rates. Unset: the aggregator's model."
    )


@CONCLUDES.register(Rate)
def rate(task: Task, preset: Preset, state: State, spec: Rate) -> Conclusion:
    """Answer with the draft that has the highest rating; of several, with a whole one that the seed draws.

    Equal ratings are no disagreement, so that they are a note and do not degrade the answer.
    A draft whose rating cannot be read is left out. Without any rating, the first complete draft is the answer.
    """
    calls = tuple(_call(task, preset, spec, reference) for reference in state.references)
    replies = yield from ask_forms(Batch(preset.layers, calls, until=schedule.RUN_END), _FORM)
    ratings = dict(zip(state.numbers, replies, strict=True))
    facts: dict[str, Any] = {
        "scores": {str(number): one.value for number, one in ratings.items()},
        "unread": {str(number): one.outcome for number, one in ratings.items() if one.value is None},
    }
    scores = {number: one.value for number, one in ratings.items() if one.value is not None}
    if scores:
        best = [one for one in state.references if scores.get(one.participant.number) == max(scores.values())]
        whole = [one for one in best if not one.draft.unfinished] or best
        chosen = whole[shuffled_order(task.seed, "rate", len(whole))[0]]
        failure = None
        if len(best) > 1:
            facts["tie"] = [one.participant.number for one in best]
    else:
        chosen = first_complete(state.references)
        failure = "no rating could be read; the first whole draft is the answer"
    answer = draft_as_answer(chosen, {"rate": {"chosen": chosen.participant.number, **facts}}, failure)
    if "tie" not in facts:
        return answer
    slots = " and ".join(map(str, facts["tie"]))
    return replace(answer, notes=(f"slots {slots} have the highest rating: the answer was drawn", *answer.notes))


def _call(task: Task, preset: Preset, spec: Rate, reference: Reference) -> Call:
    number = reference.participant.number
    messages = judge_prompts.rate(task, label_candidates(task, "rate", [reference.text]).render())
    return judge_call(preset, spec.model, messages, "judge", layer=preset.layers, slot=number, place=str(number))
