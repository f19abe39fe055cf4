"""An analyst lists where the drafts agree, conflict and have gaps; the aggregator reads this (fusion)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

from pydantic import Field

from moa_mcp.domain.fields import ModelSettingsOrId
from moa_mcp.domain.model import DryRunReplies, Task
from moa_mcp.domain.preset import Preset
from moa_mcp.domain.stages import CONCLUDES, ConcludeSpec
from moa_mcp.domain.text import one_line
from moa_mcp.flows import schedule
from moa_mcp.flows.candidates import label_candidates
from moa_mcp.flows.conclude.synthesize import Review, answer_with_review
from moa_mcp.flows.state import Conclusion, State
from moa_mcp.flows.structured_reply import Form, ask_form, is_list, json_object, judge_call
from moa_mcp.prompts import judge as judge_prompts

MAX_STATEMENT_CHARS = 1_000
MAX_STATEMENTS = 20
"""The most statements of each part: a reply may be long, the facts of a run must be short."""

Parts: TypeAlias = Mapping[str, list[str]]


class Analysis(ConcludeSpec):
    """An analyst first writes down agreement, contradictions, partial coverage, unique points and blind spots."""

    by: Literal["analysis"]
    model: ModelSettingsOrId | None = Field(
        default=None, description="The model that analyses. Unset: the aggregator's model."
    )


@CONCLUDES.register(Analysis)
def analysis(task: Task, preset: Preset, state: State, spec: Analysis) -> Conclusion:
    """Let the analyst compare the drafts, then the aggregator write; without an analysis it uses only the drafts."""
    shown = label_candidates(task, "analysis", state.texts)
    messages = judge_prompts.analyst(task, shown.render())
    call = judge_call(preset, spec.model, messages, "analyst", layer=preset.layers)
    reply = yield from ask_form(call, _FORM, until=schedule.JUDGES_END)
    facts = {"how": reply.outcome, "letters": shown.by_letter(state.numbers), **(reply.value or {})}
    if reply.value is None:
        failure = f"there is no analysis ({reply.outcome}); the drafts were merged without one"
        review = Review(shown, None, {"analysis": facts}, (failure,))
    else:
        review = Review(shown, judge_prompts.analysis_note(shown.letters, reply.value), {"analysis": facts})
    return (yield from answer_with_review(task, preset, state, review))


def _read_parts(text: str) -> Parts | None:
    """Read the parts, each a list of statements; all parts must be present, and each may be empty."""
    reply = json_object(text, *judge_prompts.PARTS)
    return {part: _statements(reply[part]) for part in judge_prompts.PARTS} if reply else None


def _statements(value: Any) -> list[str]:
    items = value if is_list(value) else [value]
    texts = (
        one if isinstance(one, str) else json.dumps(one, ensure_ascii=False) for one in items[:MAX_STATEMENTS] if one
    )
    return [one_line(text, MAX_STATEMENT_CHARS) for text in texts]


_EMPTY = json.dumps({part: ["nothing"] for part in judge_prompts.PARTS})
_FORM = Form(_read_parts, dry_run=DryRunReplies(_EMPTY, _EMPTY))
