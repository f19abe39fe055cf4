"""Hermes Agent's form: the drafts are private advice behind the question, and the aggregator acts on it."""

from __future__ import annotations

from dataclasses import replace

from moa_mcp.domain.model import Task
from moa_mcp.domain.preset import Preset
from moa_mcp.domain.stages import Advise
from moa_mcp.flows.conclude.synthesize import write_answer
from moa_mcp.flows.state import Conclusion, State
from moa_mcp.prompts.adviser import adviser_messages, aggregator_messages


def task_for_proposers(task: Task, preset: Preset) -> Task:
    """The task as the proposers of `preset` are shown it: advisers see no system text but their own."""
    return adviser_messages(task) if isinstance(preset.conclude, Advise) else task


def works_without_drafts(preset: Preset) -> bool:
    """Whether the end of `preset` answers even where every proposer of the first layer failed."""
    return isinstance(preset.conclude, Advise)


def advise(task: Task, preset: Preset, state: State, spec: Advise) -> Conclusion:
    """Let the aggregator answer the conversation with the advice behind it, or with none if all failed."""
    heard = [reference.participant.number for reference in state.references]
    named = [
        (participant.number, getattr(participant.slot, "model", None) or f"panel {participant.number}")
        for participant in state.participants
    ]
    # What a screen set aside was heard: it is not missing.
    missing = [name for number, name in named if number not in heard] if preset.screen is None else []
    messages = aggregator_messages(
        task, preset.aggregator.role, state.texts, missing if spec.unavailable == "loud" else []
    )
    answer = yield from write_answer(preset, messages, [reference.draft for reference in state.references])
    facts = {"advise": {"heard": heard, "missing": missing, "unavailable": spec.unavailable}}
    return replace(answer, method={**answer.method, **facts})
