"""A judge of the known drafts of a panel: what it is shown, what it says, and what comes of that."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, TypeAlias

from moa_mcp.domain.model import Call, Outcome, Task
from moa_mcp.domain.preset import Preset
from moa_mcp.flows.panel import ask_panel
from moa_mcp.testing.playing import Played, Reply, drive
from tests.flows.panel import MERGED, TASK, draft_of, prompt_of

FakeReply: TypeAlias = str | Outcome
Judge: TypeAlias = Callable[[Call], FakeReply]


def judged(judge: Judge, preset: Preset, task: Task = TASK) -> Played:
    """A panel of the known words, played to its end with what `judge` says."""
    return drive(ask_panel(task, preset), with_judge(judge))


def with_judge(judge: Judge) -> Reply:
    """Proposers and aggregator say the known words; every other model replies with the text of `judge`."""

    def reply(call: Call) -> FakeReply:
        if call.role == "proposer":
            return draft_of(call.slot)
        return MERGED if call.role == "aggregator" else judge(call)

    return reply


def candidates(call: Call) -> dict[str, str]:
    """The candidates that a judge is shown: letter and text, in the order in which they stand."""
    return dict(re.findall(r"<candidate ([A-Z]+) \w+>\n(.*?)\n</candidate", prompt_of(call), re.DOTALL))


def letter_of(call: Call, number: int) -> str:
    """The letter under which a judge sees the draft of that slot."""
    return {text: letter for letter, text in candidates(call).items()}[draft_of(number)]


def as_json(**fields: Any) -> str:
    """A reply in good form."""
    return json.dumps(fields)
