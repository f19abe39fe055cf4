"""Hermes Agent's form: the drafts are private advice behind the question, and the aggregator acts on it."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, Literal

from pydantic import Field

from moa_mcp.domain.model import Task
from moa_mcp.domain.preset import PanelSlot, Preset
from moa_mcp.domain.stages import CONCLUDES, ConcludeSpec
from moa_mcp.flows.conclude.synthesize import write_answer
from moa_mcp.flows.state import Conclusion, State
from moa_mcp.prompts.adviser import adviser_messages, aggregator_messages


class Advise(ConcludeSpec):
    """The drafts are private guidance behind the question, for the aggregator alone (Hermes Agent's form)."""

    by: Literal["advise"]
    unavailable: Literal["loud", "silent"] = Field(
        default="loud", description="Whether the aggregator reads which proposers failed (loud) or not (silent)."
    )

    works_without_drafts: ClassVar[bool] = True

    def task_for_proposers(self, task: Task) -> Task:
        """Advisers see no system text but their own."""
        return adviser_messages(task)


@CONCLUDES.register(Advise)
def advise(task: Task, preset: Preset, state: State, spec: Advise) -> Conclusion:
    """Let the aggregator answer the conversation with the advice behind it, or with none if all failed."""
    heard = [reference.participant.number for reference in state.references]
    named = [
        (one.number, f"panel {one.number}" if isinstance(one.slot, PanelSlot) else one.slot.label)
        for one in state.participants
    ]
    # What a screen set aside was heard: it is not missing.
    missing = [name for number, name in named if number not in heard] if preset.screen is None else []
    messages = aggregator_messages(
        task, preset.aggregator.role, state.texts, missing if spec.unavailable == "loud" else []
    )
    answer = yield from write_answer(preset, messages, [reference.draft for reference in state.references])
    facts = {"advise": {"heard": heard, "missing": missing, "unavailable": spec.unavailable}}
    return replace(answer, method={**answer.method, **facts})
