"""A critic reviews all drafts in one reply, and the aggregator reads the review beside the drafts."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from moa_mcp.domain.fields import ModelSettingsOrId
from moa_mcp.domain.model import Task
from moa_mcp.domain.preset import Preset
from moa_mcp.domain.stages import CONCLUDES, ConcludeSpec
from moa_mcp.flows import schedule
from moa_mcp.flows.candidates import label_candidates
from moa_mcp.flows.conclude.synthesize import Review, answer_with_review
from moa_mcp.flows.state import Conclusion, State
from moa_mcp.flows.structured_reply import Form, ask_form, judge_call
from moa_mcp.prompts.judge import critic, review_note

_ANY_TEXT: Form[str] = Form(lambda text: text.strip() or None)


class Critique(ConcludeSpec):
    """A critic reviews all drafts in one reply, which the aggregator reads beside them."""

    by: Literal["critique"]
    model: ModelSettingsOrId | None = Field(
        default=None, description="The model that reviews. Unset: the aggregator's model."
    )


@CONCLUDES.register(Critique)
def critique(task: Task, preset: Preset, state: State, spec: Critique) -> Conclusion:
    """Let the critic review the drafts, then the aggregator write; without a review it uses only the drafts."""
    shown = label_candidates(task, "critique", state.texts)
    call = judge_call(preset, spec.model, critic(task, shown.render()), "critic", layer=preset.layers)
    reply = yield from ask_form(call, _ANY_TEXT, until=schedule.JUDGES_END)
    facts = {"critique": {"how": reply.outcome, "letters": shown.by_letter(state.numbers)}}
    if reply.value is None:
        failure = f"there is no critique ({reply.outcome}); the drafts were merged without one"
        review = Review(shown, None, facts, (failure,))
    else:
        remarks = review_note(shown.letters, reply.value, whole=not reply.unfinished)
        review = Review(shown, remarks, facts, (f"the critique {reply.unfinished}",) if reply.unfinished else ())
    return (yield from answer_with_review(task, preset, state, review))
