"""An analyst writes down where the drafts agree, clash and fall short; the aggregator reads that (fusion)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, TypeAlias

from moa_mcp.domain.model import Likely, Task
from moa_mcp.domain.preset import Preset
from moa_mcp.domain.stages import Analysis
from moa_mcp.domain.text import one_line
from moa_mcp.flows.calls import JUDGES_SHARE
from moa_mcp.flows.candidates import ballot
from moa_mcp.flows.conclude.reviewed import Review, reviewed
from moa_mcp.flows.state import Conclusion, State
from moa_mcp.flows.structured_reply import ask, is_list, json_object, judge_call
from moa_mcp.prompts import judge as judge_prompts

LONGEST_STATEMENT = 1_000
MOST_STATEMENTS = 20
"""Of each part; a reply may be long, the facts of a run are not."""

Parts: TypeAlias = Mapping[str, list[str]]

_EMPTY = json.dumps({part: ["nothing"] for part in judge_prompts.PARTS})


def analysis(task: Task, preset: Preset, state: State, spec: Analysis) -> Conclusion:
    """Let the analyst compare, then the aggregator write; without an analysis, from the drafts alone."""
    shown = ballot(task, "analysis", state.texts)
    messages = judge_prompts.analyst(task, shown.shown())
    call = judge_call(preset, spec.model, messages, "analyst", layer=preset.layers, likely=Likely(_EMPTY, _EMPTY))
    asked = yield from ask(call, _read, until=JUDGES_SHARE)
    facts = {"how": asked.how, "letters": shown.naming(state.numbers), **(asked.value or {})}
    if asked.value is None:
        lost = f"there is no analysis ({asked.how}); the drafts were merged without one"
        review = Review(shown, None, {"analysis": facts}, (lost,))
    else:
        review = Review(shown, judge_prompts.analysed(shown.letters, asked.value), {"analysis": facts})
    return (yield from reviewed(task, preset, state, review))


def _read(text: str) -> Parts | None:
    """The five parts, each a list of statements; all have to be there, and any may be empty."""
    reply = json_object(text, *judge_prompts.PARTS)
    return {part: _statements(reply[part]) for part in judge_prompts.PARTS} if reply else None


def _statements(said: Any) -> list[str]:
    listed = said if is_list(said) else [said]
    return [one_line(_statement(one), LONGEST_STATEMENT) for one in listed[:MOST_STATEMENTS] if one]


def _statement(said: Any) -> str:
    return said if isinstance(said, str) else json.dumps(said, ensure_ascii=False)
