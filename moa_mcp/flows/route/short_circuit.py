"""One draft makes the panel unnecessary: the end of the ways that may answer before it is asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from moa_mcp.domain.fields import ModelSettings
from moa_mcp.domain.model import AGGREGATOR, Answer, Draft, Message, Task
from moa_mcp.domain.preset import Preset, Proposer
from moa_mcp.flows.state import Participant, Reference, State
from moa_mcp.prompts.panel import messages_for

SOLO = "solo"
"""The role of the one model that may make a panel unnecessary, where the caller wants guidance and no answer."""

SAMPLER = "sampler"
"""The role of each of several that together may make a panel unnecessary."""


def answer_directly(task: Task, state: State, alone: Reference, why: str) -> State:
    """The state in which `alone` is the answer, or for a caller who wants guidance the only draft."""
    ended = replace(state, references=(alone,), stop_reason=why)
    if task.output == "guidance":
        return ended
    return replace(ended, answer=Answer(alone.text, alone.draft.cut, method=alone.draft.method))


def solo_role(task: Task) -> str:
    """The role of the one call that may be the whole answer; guidance has no writer."""
    return AGGREGATOR if task.output == "answer" else SOLO


def reference_without_slot(easy: ModelSettings, draft: Draft) -> Reference:
    """The draft of a model that has no slot in the panel: its participant is number 0."""
    return Reference(Participant(0, Proposer(model=easy.model)), draft)


def messages_for_solo(task: Task, preset: Preset, easy: ModelSettings) -> Sequence[Message]:
    """The caller's conversation, as a model that answers alone gets it."""
    return messages_for(task, (), preset.prompt_style, easy.role)
