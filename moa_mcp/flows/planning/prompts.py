"""The prompts that a preset sends, with placeholders for what its models write. Nothing is sent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from moa_mcp.domain.model import Call, ChatCall, Draft, Message, Outcome, Task
from moa_mcp.domain.preset import Preset
from moa_mcp.flows.panel import ask_panel
from moa_mcp.flows.planning.dry_run import Asked, dry_run, longest_run

QUESTION = "[The question.]"
CODE = "CODE"
"""In the place of the run's code, which is another in each run."""

_PROGRAMMERS = ("programmer", "repairer")


@dataclass(frozen=True, slots=True)
class Prompt:
    """The messages that all of `calls` get. The calls belong to one role and one layer."""

    calls: tuple[Call, ...]
    messages: tuple[Message, ...]


def prompts_of(preset: Preset) -> list[Prompt]:
    """The prompts of a run in which nothing fails and every stage goes on as long as it can, in their order."""
    asked: list[ChatCall] = []
    task = Task(QUESTION)

    def record(one: Asked) -> Outcome:
        if isinstance(one.call, ChatCall):
            asked.append(one.call)
        # A program has to be one, else the flow would end here.
        return (
            Draft(_placeholder(one.call))
            if one.is_free_text and one.call.role not in _PROGRAMMERS
            else longest_run(one)
        )

    dry_run(ask_panel(task, preset), record)
    return [
        _prompt(tuple(calls), task.nonce)
        for _, calls in groupby(asked, lambda call: (call.role, call.layer, call.messages))
    ]


def _placeholder(call: Call) -> str:
    return f"[The text of {call.role} {call.id}, {call.model}.]"


def _prompt(calls: Sequence[ChatCall], nonce: str) -> Prompt:
    messages = (replace(message, text=message.text.replace(nonce, CODE)) for message in calls[0].messages)
    return Prompt(tuple(calls), tuple(messages))
