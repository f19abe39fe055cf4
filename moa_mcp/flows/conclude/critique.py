"""A critic reviews all drafts in one reply, and the aggregator reads the review beside the drafts."""

from __future__ import annotations

from moa_mcp.domain.model import Task
from moa_mcp.domain.preset import Preset
from moa_mcp.domain.stages import Critique
from moa_mcp.flows.calls import JUDGES_SHARE
from moa_mcp.flows.candidates import ballot
from moa_mcp.flows.conclude.reviewed import Review, reviewed
from moa_mcp.flows.state import Conclusion, State
from moa_mcp.flows.structured_reply import ask, judge_call
from moa_mcp.prompts import judge as judge_prompts


def critique(task: Task, preset: Preset, state: State, spec: Critique) -> Conclusion:
    """Let the critic review, then the aggregator write; without a review, from the drafts alone."""
    shown = ballot(task, "critique", state.texts)
    messages = judge_prompts.critic(task, shown.shown())
    call = judge_call(preset, spec.model, messages, "critic", layer=preset.layers)
    asked = yield from ask(call, lambda text: text.strip() or None, until=JUDGES_SHARE)
    facts = {"critique": {"how": asked.how, "letters": shown.naming(state.numbers)}}
    if asked.value is None:
        lost = f"there is no critique ({asked.how}); the drafts were merged without one"
        return (yield from reviewed(task, preset, state, Review(shown, None, facts, (lost,))))
    remarks = judge_prompts.reviewed(shown.letters, asked.value)
    return (yield from reviewed(task, preset, state, Review(shown, remarks, facts)))
