"""Helpers for routes in which one draft makes the panel unnecessary."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from moa_mcp.domain.fields import ModelSettings
from moa_mcp.domain.model import AGGREGATOR, Answer, Draft, Message, Task
from moa_mcp.domain.preset import Preset, Proposer
from moa_mcp.flows.state import Participant, Reference, State
from moa_mcp.prompts.panel import messages_for

SOLO = "solo"
"""The role of a model whose reply may replace the panel, if the caller asks for guidance instead of an answer."""


def answer_directly(task: Task, state: State, alone: Reference, why: str) -> State:
    """The state in which `alone` is the answer, or, if the caller asks for guidance, the only draft."""
    ended = replace(state, references=(alone,), stop_reason=why)
    if task.output == "guidance":
        return ended
    return replace(ended, answer=Answer(alone.text, alone.draft.shortfalls_as_answer, method=alone.draft.method))


def solo_role(task: Task) -> str:
    """The role of a call whose reply may be the whole answer; guidance is not written by an aggregator."""
    return AGGREGATOR if task.output == "answer" else SOLO


def reference_without_slot(easy: ModelSettings, draft: Draft) -> Reference:
    """A reference for the draft of a model without a slot in the panel: its participant has number 0."""
    return Reference(Participant(0, Proposer(model=easy.model)), draft)


def messages_for_solo(task: Task, preset: Preset, easy: ModelSettings) -> Sequence[Message]:
    """The caller's conversation, as messages for a model that answers alone."""
    return messages_for(task, (), preset.prompt_style, easy.role)
