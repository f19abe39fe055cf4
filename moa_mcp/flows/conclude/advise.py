"""Hermes Agent's form: the aggregator gets the drafts as private advice after the question."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import ClassVar, Literal

from pydantic import Field

from moa_mcp.domain.fields import PromptStyle
from moa_mcp.domain.model import Message, Task
from moa_mcp.domain.preset import PanelSlot, Preset
from moa_mcp.domain.stages import CONCLUDES, ConcludeSpec
from moa_mcp.flows.conclude.synthesize import fallback_draft, write_answer
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
        """Build the task for the advisers: they see only their own system text."""
        return adviser_messages(task)


@CONCLUDES.register(Advise)
def advise(task: Task, preset: Preset, state: State, spec: Advise) -> Conclusion:
    """Let the aggregator answer the conversation, followed by the advice; without advice if all proposers failed."""
    answered = [reference.participant.number for reference in state.references]
    named = [
        (one.number, f"panel {one.number}" if isinstance(one.slot, PanelSlot) else one.slot.label)
        for one in state.participants
    ]
    # A slot whose draft a screen dropped has answered, so it is not missing. After a screen, none is listed.
    missing = [name for number, name in named if number not in answered] if preset.screen is None else []
    messages = aggregator_messages(
        task, preset.aggregator.role, state.texts, missing if spec.unavailable == "loud" else []
    )

    def prompt(model: str, style: PromptStyle) -> tuple[Message, ...]:
        return messages

    answer = yield from write_answer(preset, prompt, partial(fallback_draft, state))
    facts = {"advise": {"heard": answered, "missing": missing, "unavailable": spec.unavailable}}
    return replace(answer, method={**answer.method, **facts})
