"""A judge names one draft, which is the answer: the paper's LLM ranker, and universal self-consistency.

The papers ask once. Judges prefer some places to others, so with `orders: 2` they are asked a second time, with the
candidates in the reverse order under other letters, at the same time: one more call and no more waiting.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import replace
from functools import partial
from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from moa_mcp.domain.fields import ModelSettingsOrId
from moa_mcp.domain.model import Batch, DryRunReplies, Outcome, Task
from moa_mcp.domain.preset import Preset
from moa_mcp.domain.stages import CONCLUDES, ConcludeSpec
from moa_mcp.flows import schedule
from moa_mcp.flows.candidates import LabelledCandidates, label_candidates, shuffled_order, turned_candidates
from moa_mcp.flows.conclude.take import draft_as_answer, first_complete
from moa_mcp.flows.state import Conclusion, State
from moa_mcp.flows.structured_reply import Form, FormReply, ask_forms, json_object, judge_call, reason_of
from moa_mcp.prompts.judge import pick_best, pick_consistent


class Select(ConcludeSpec):
    """A judge names one draft, which is the answer word for word."""

    by: Literal["select"]
    wanted: Literal["best", "consistent"] = Field(
        default="best",
        alias="for",
        description="What the judge looks for. best: the best draft (the paper's LLM ranker). "
        "consistent: the one most others agree with (universal self-consistency).",
    )
    orders: Annotated[int, Field(ge=1, le=2)] = Field(
        default=1,
        description="In how many orders the judge sees the drafts, at the same time: a call each. With 2, a judge that "
        "prefers a place cannot decide unnoticed.",
    )
    model: ModelSettingsOrId | None = Field(
        default=None, description="The model that judges. Unset: the aggregator's model."
    )


Ballot: TypeAlias = tuple[int, str]
"""The index of the draft that the judge named, and its reason."""


@CONCLUDES.register(Select)
def select(task: Task, preset: Preset, state: State, spec: Select) -> Conclusion:
    """Answer with the draft that the judge names, in both orders if there are two.

    If it names another in each, the seed draws one of them, and the answer is degraded. If it names none, the first
    complete draft is the answer.
    """
    if len(state.references) == 1:
        return draft_as_answer(state.references[0], {"select": {"chosen": state.numbers[0], "how": "the only draft"}})
    shown = label_candidates(task, "select", state.texts)
    looks = (shown, turned_candidates(shown))[: spec.orders]
    replies = yield from _ask(task, preset, spec, looks)
    ballots = [reply.value for reply in replies if reply.value is not None]
    named = list(dict.fromkeys(index for index, _ in ballots))
    failure: str | None = None
    if named:
        chosen = state.references[named[shuffled_order(task.seed, "select", len(named))[0]]]
        if len(named) > 1:
            slots = " and ".join(str(state.numbers[index]) for index in named)
            failure = f"in another order the judge named another draft (slots {slots}): the answer was drawn of the two"
    else:
        chosen = first_complete(state.references)
        failure = f"the judge named no draft ({replies[0].outcome}); the first whole one is the answer"
    why = next((why for index, why in ballots if state.references[index] is chosen), "")
    facts = {
        "for": spec.wanted,
        "chosen": chosen.participant.number,
        "why": why,
        "how": replies[0].outcome,
        "letters": shown.by_letter(state.numbers),
        "named": [state.numbers[reply.value[0]] if reply.value else None for reply in replies],
    }
    answer = draft_as_answer(chosen, {"select": facts}, failure)
    if 0 < len(ballots) < len(replies):
        unread = next(reply.outcome for reply in replies if reply.value is None)
        return replace(answer, notes=(*answer.notes, f"the judge was read in one of two orders alone: {unread}"))
    return answer


def _ask(
    task: Task, preset: Preset, spec: Select, looks: Sequence[LabelledCandidates]
) -> Generator[Batch, Sequence[Outcome], list[FormReply[Ballot]]]:
    """Ask the judge about each of `looks`, all at the same time."""
    prompt = pick_best if spec.wanted == "best" else pick_consistent
    calls = tuple(
        judge_call(preset, spec.model, prompt(task, look.render()), "judge", layer=preset.layers, place=place)
        for look, place in zip(looks, ("", "turned"), strict=False)
    )
    places = replace(looks[0], order=tuple(range(len(looks[0].order))))  # the places of the letters, in any look
    form = Form(
        partial(_read, places), partial(_read_loosely, places), DryRunReplies('{"choice": "A"}', '{"choice": "A"}')
    )
    replies = yield from ask_forms(Batch(preset.layers, calls, until=schedule.RUN_END), form)
    return [
        replace(reply, value=reply.value and (look.order[reply.value[0]], reply.value[1]))
        for look, reply in zip(looks, replies, strict=True)
    ]


def _read(shown: LabelledCandidates, text: str) -> Ballot | None:
    reply = json_object(text, "choice")
    index = shown.index(str(reply["choice"])) if reply else None
    return (index, reason_of(reply)) if reply and index is not None else None


def _read_loosely(shown: LabelledCandidates, text: str) -> Ballot | None:
    index = shown.find_choice(text)
    return None if index is None else (index, "")
