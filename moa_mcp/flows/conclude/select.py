"""A judge names one draft, which is the answer: the paper's LLM ranker, and universal self-consistency."""

from __future__ import annotations

from functools import partial
from typing import Literal

from pydantic import Field

from moa_mcp.domain.fields import ModelSettingsOrId
from moa_mcp.domain.model import DryRunReplies, Task
from moa_mcp.domain.preset import Preset
from moa_mcp.domain.stages import CONCLUDES, ConcludeSpec
from moa_mcp.flows import schedule
from moa_mcp.flows.candidates import LabelledCandidates, label_candidates
from moa_mcp.flows.conclude.take import draft_as_answer, first_complete
from moa_mcp.flows.state import Conclusion, State
from moa_mcp.flows.structured_reply import Form, ask_form, json_object, judge_call, reason_of
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
    model: ModelSettingsOrId | None = Field(
        default=None, description="The model that judges. Unset: the aggregator's model."
    )


@CONCLUDES.register(Select)
def select(task: Task, preset: Preset, state: State, spec: Select) -> Conclusion:
    """Answer with the draft that the judge names; if it names none, with the first complete draft and a note."""
    if len(state.references) == 1:
        return draft_as_answer(state.references[0], {"select": {"chosen": state.numbers[0], "how": "the only draft"}})
    shown = label_candidates(task, "select", state.texts)
    prompt = pick_best if spec.wanted == "best" else pick_consistent
    call = judge_call(preset, spec.model, prompt(task, shown.render()), "judge", layer=preset.layers)
    form = Form(
        partial(_read, shown), partial(_read_loosely, shown), DryRunReplies('{"choice": "A"}', '{"choice": "A"}')
    )
    reply = yield from ask_form(call, form, until=schedule.RUN_END)
    index, why = reply.value or (None, "")
    failure: str | None = None
    if index is not None:
        chosen = state.references[index]
    else:
        chosen = first_complete(state.references)
        failure = f"the judge named no draft ({reply.outcome}); the first whole one is the answer"
    facts = {
        "for": spec.wanted,
        "chosen": chosen.participant.number,
        "why": why,
        "how": reply.outcome,
        "letters": shown.by_letter(state.numbers),
    }
    return draft_as_answer(chosen, {"select": facts}, failure)


def _read(shown: LabelledCandidates, text: str) -> tuple[int, str] | None:
    reply = json_object(text, "choice")
    index = shown.index(str(reply["choice"])) if reply else None
    return (index, reason_of(reply)) if reply and index is not None else None


def _read_loosely(shown: LabelledCandidates, text: str) -> tuple[int, str] | None:
    index = shown.find_choice(text)
    return None if index is None else (index, "")
