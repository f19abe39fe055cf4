"""Self-MoA-Seq (Li et al. 2025, arXiv 2502.00674): aggregate many drafts window by window, if one prompt is too small.

Each draft is in exactly one window. From the second window on, the best text so far fills the reserved places, so that
it counts as much as several drafts. If a gate gave weights, the heaviest drafts come first.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, ClassVar, Literal, Self, TypeAlias

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from moa_mcp.domain.fields import Count, constraint_error
from moa_mcp.domain.model import Batch, Draft, Message, Outcome, Task
from moa_mcp.domain.preset import Preset
from moa_mcp.domain.shortfalls import NONE, Shortfall
from moa_mcp.domain.stages import CONCLUDES, ConcludeSpec
from moa_mcp.flows import schedule
from moa_mcp.flows.calls import call_notes, make_call, reads_prefix_again
from moa_mcp.flows.conclude.synthesize import fallback_draft, write_answer
from moa_mcp.flows.state import Conclusion, Reference, State, has_weights
from moa_mcp.prompts.panel import messages_for


class Windows(ConcludeSpec):
    """The drafts are aggregated a window at a time; the best answer so far is part of each window (Self-MoA-Seq)."""

    by: Literal["windows"]
    window: Annotated[int, Field(ge=2, le=64)] = Field(default=6, description="How many texts one call aggregates.")
    reserved: Count = Field(
        default=3, description="How many places of a window the answer so far takes; fewer than `window`."
    )

    shares_messages: ClassVar[bool] = True

    def problems(self, preset: Preset) -> Iterator[PydanticCustomError]:
        """Windows aggregate the drafts of one layer, so `layers` must be 2."""
        if preset.layers != 2:
            yield constraint_error("conclude by windows works on the drafts of one layer", "layers to be 2", "conclude")

    @model_validator(mode="after")
    def _check_constraints(self) -> Self:
        if self.reserved >= self.window:
            problem = f"a window of {self.window} has no room beside {self.reserved} reserved places"
            raise constraint_error(problem, f"at most {self.window - 1}", "reserved")
        return self


@CONCLUDES.register(Windows)
def windows(task: Task, preset: Preset, state: State, spec: Windows) -> Conclusion:
    """Aggregate the drafts window by window; the last aggregation is the answer.

    If a window cannot be aggregated, the best text so far is kept (for the first window, its best draft), and the
    answer is marked as degraded.
    """
    *earlier, last = window_slices(len(state.references), spec.window, spec.reserved)
    progress = _Progress()
    time = schedule.conclusion(preset)
    until = time.start
    for number, new_drafts in enumerate(earlier, start=1):
        until = time.step_end(number, len(earlier) + 1)
        messages = _window_messages(task, preset, _window_state(state, new_drafts, progress.best, spec.reserved))
        part = replace(state, references=state.references[new_drafts])
        progress = yield from _aggregate_window(preset, progress, messages, part, number, until)
    messages = _window_messages(task, preset, _window_state(state, last, progress.best, spec.reserved))
    kept = replace(state, references=state.references[last], fallback_answer=progress.best)
    answer = yield from write_answer(preset, messages, partial(fallback_draft, kept), schedule.Window(until))
    facts = {
        "sizes": [len(state.references[new_drafts]) for new_drafts in (*earlier, last)],
        "lost": list(progress.lost),
        "duplicates": len(state.references) - len(set(state.texts)),
    }
    return replace(
        answer,
        shortfalls=answer.shortfalls | (frozenset({Shortfall.FALLBACK}) if progress.lost else NONE),
        notes=(*progress.notes, *answer.notes),
        method={**answer.method, "windows": facts},
    )


def window_slices(count: int, window: int, reserved: int) -> list[slice]:
    """The windows of `count` drafts, each as the slice of its new drafts; no draft is in two slices."""
    starts = [0, *range(window, count, window - reserved)]
    return [slice(start, end) for start, end in zip(starts, [*starts[1:], count], strict=True)]


@dataclass(frozen=True, slots=True)
class _Progress:
    """The result of the windows so far: the best text, the numbers of the windows that failed, and notes."""

    best: Draft | None = None
    lost: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()


_Aggregating: TypeAlias = Generator[Batch, Sequence[Outcome], _Progress]


def _aggregate_window(
    preset: Preset, progress: _Progress, messages: Sequence[Message], part: State, number: int, until: float
) -> _Aggregating:
    """Aggregate a window that is not the last. Its role is not "aggregator": that role writes the run's answer."""
    identity = f"{preset.layers}.window.{number}"
    call = make_call(
        preset.aggregator,
        messages,
        identity,
        "windower",
        layer=preset.layers,
        slot=number,
        cache_prefix=reads_prefix_again(preset, preset.aggregator.model),
    )
    (outcome,) = yield Batch(preset.layers, (call,), until=until)
    call_remarks = call_notes((call,), (outcome,))
    if isinstance(outcome, Draft) and not outcome.cut:
        return replace(progress, best=outcome, notes=(*progress.notes, *call_remarks))
    notes = (*progress.notes, *call_remarks, f"window {number} could not be aggregated; the best so far was kept")
    return _Progress(progress.best or fallback_draft(part), (*progress.lost, number), notes)


def _window_state(state: State, new_drafts: slice, best: Draft | None, reserved: int) -> State:
    """The state for one window: the best text so far in the reserved places, then the new drafts.

    The reserved places share the total weight of the drafts that the best text was made from.
    """
    if best is None:
        return replace(state, references=state.references[new_drafts])
    made_from = [reference.participant for reference in state.references[: new_drafts.start]]
    weight = sum(participant.weight or 0.0 for participant in made_from) / reserved if has_weights(made_from) else None
    carried = Reference(replace(made_from[0], weight=weight), best)
    return replace(state, references=(*(carried,) * reserved, *state.references[new_drafts]))


def _window_messages(task: Task, preset: Preset, window: State) -> tuple[Message, ...]:
    return messages_for(task, window.texts, preset.prompt_style, preset.aggregator.role, window.reader_notes)
