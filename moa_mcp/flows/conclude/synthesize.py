"""The aggregator writes the answer from the drafts: Aggregate-and-Synthesize."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

from moa_mcp.domain.errors import RunFailed
from moa_mcp.domain.model import AGGREGATOR, Answer, Batch, Draft, Message, Task
from moa_mcp.domain.preset import Preset
from moa_mcp.domain.stages import CONCLUDES, ConcludeSpec
from moa_mcp.domain.text import strip_invisible
from moa_mcp.flows import schedule
from moa_mcp.flows.calls import call_notes, make_call
from moa_mcp.flows.state import Conclusion, State
from moa_mcp.prompts.panel import messages_for


class Synthesize(ConcludeSpec):
    """The aggregator writes the answer from the drafts, as in the paper."""

    by: Literal["synthesize"] = "synthesize"

    merges_layers: ClassVar[bool] = True

    @property
    def details(self) -> str:
        """Nothing: what the aggregator does needs no word of its own."""
        return ""


@CONCLUDES.register(Synthesize)
def synthesize(task: Task, preset: Preset, state: State, spec: Synthesize) -> Conclusion:
    """Let the aggregator write the answer from the references and what the method has to say of them."""
    return (yield from synthesize_after(task, preset, state))


def synthesize_after(task: Task, preset: Preset, state: State, time: schedule.Window | None = None) -> Conclusion:
    """`synthesize` for ends that do something else too, which leaves it `time`."""
    messages = messages_for(task, state.texts, preset.prompt_style, preset.aggregator.role, state.reader_notes)
    drafts = [state.fallback_answer] if state.fallback_answer else [reference.draft for reference in state.references]
    return (yield from write_answer(preset, messages, drafts, time))


def write_answer(
    preset: Preset,
    messages: Sequence[Message],
    drafts: Sequence[Draft],
    time: schedule.Window | None = None,
) -> Conclusion:
    """The answer to `messages` of the aggregator, or its fallbacks; failing these, the best of `drafts`.

    A cut answer is only taken once nobody else could write a whole one.

    `time` is the part of the run's time for writing, by default all that the drafts leave. The models share it.

    Raises:
        RunFailed: nobody could write one and there is no draft to fall back on.
    """
    aggregator = preset.aggregator
    call_id = f"{preset.layers}.1"
    causes: list[str] = []
    parts: list[Draft] = []
    models = (aggregator.model, *aggregator.fallbacks)
    time = time or schedule.conclusion(preset)
    for attempt, model in enumerate(models):
        call = make_call(
            aggregator.model_copy(update={"model": model}),
            messages,
            call_id if attempt == 0 else f"{call_id}.fallback{attempt}",
            AGGREGATOR,
            layer=preset.layers,
        )
        until = time.step_end(attempt + 1, len(models))
        (outcome,) = yield Batch(preset.layers, (call,), until=until)
        causes.extend(call_notes((call,), (outcome,)))
        if isinstance(outcome, Draft) and not outcome.cut:
            return Answer(outcome.text, notes=tuple(causes))
        parts += [outcome] if isinstance(outcome, Draft) else []
    if parts:
        return Answer(
            best_draft(parts).text, degraded=True, notes=(*causes, "the answer is a part: nobody finished one")
        )
    if not drafts:
        raise RunFailed("No model could write the answer:", causes)
    return Answer(best_draft(drafts).text, degraded=True, notes=(*causes, "the answer is the best single draft"))


def best_draft(drafts: Sequence[Draft]) -> Draft:
    """The draft that stands in for an answer: a whole one before a truncated one, then the longest."""
    return max(drafts, key=lambda draft: (not draft.truncated, len(strip_invisible(draft.text))))
