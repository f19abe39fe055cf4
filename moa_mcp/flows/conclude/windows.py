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

from moa_mcp.domain.errors import Reason
from moa_mcp.domain.fields import Count, constraint_error
from moa_mcp.domain.model import Answer, Batch, Draft, Failure, Message, Outcome, Task
from moa_mcp.domain.preset import Preset
from moa_mcp.domain.shortfalls import NONE, Shortfall
from moa_mcp.domain.stages import CONCLUDES, ConcludeSpec
from moa_mcp.flows import schedule
from moa_mcp.flows.calls import call_notes, make_call, reads_prefix_again
from moa_mcp.flows.conclude.synthesize import Prompt, aggregator_prompt, fallback_draft, write_answer
from moa_mcp.flows.state import Conclusion, Reference, State, has_weights
from moa_mcp.prompts.panel import repeated_note


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
    answer is marked as degraded. If the time is up, that text is the answer.
    """
    *earlier, last = window_slices(len(state.references), spec.window, spec.reserved)
    progress = _Progress()
    count = len(earlier) + 1
    for number, new_drafts in enumerate(earlier, start=1):
        part = replace(state, references=state.references[new_drafts])
        prompt = _window_prompt(task, preset, _window_state(state, new_drafts, progress.best, spec.reserved))
        messages = prompt(preset.aggregator.model, preset.prompt_style)
        progress = yield from _aggregate_window(preset, progress, messages, part, number, count)
        if progress.best and progress.out_of_time:
            return _unfinished(state, progress, progress.best, new_drafts.start, f"{number - 1} of {count} windows")
    prompt = _window_prompt(task, preset, _window_state(state, last, progress.best, spec.reserved))
    kept = replace(state, references=state.references[last], fallback_answer=progress.best)
    start = schedule.window_end(count - 1, count) if earlier else schedule.conclusion(preset).start
    answer = yield from write_answer(preset, prompt, partial(fallback_draft, kept), schedule.Window(start))
    facts = {
        "sizes": [len(state.references[new_drafts]) for new_drafts in (*earlier, last)],
        "lost": list(progress.lost),
        "duplicates": len(state.references) - len(set(state.texts)),
    }
    read = state.references[: last.start]
    unread = (f"the last {len(kept.references)} of {len(state.references)} drafts were not read",)
    fell_back = bool(read) and Shortfall.FALLBACK in answer.shortfalls
    return replace(
        answer,
        shortfalls=answer.shortfalls | (frozenset({Shortfall.FALLBACK}) if progress.lost else NONE),
        notes=(*progress.notes, *answer.notes, *(unread if fell_back else ())),
        method={**answer.method, "windows": facts},
    )


def _unfinished(state: State, progress: _Progress, best: Draft, read: int, made: str) -> Answer:
    """The answer if the time was up: the best text so far, which was made from the first `read` drafts."""
    note = (
        f"the time was up after {made}: {len(state.references) - read} of {len(state.references)} drafts were not read"
    )
    facts = {"lost": list(progress.lost), "unread": state.numbers[read:]}
    shortfalls = best.shortfalls_as_answer | {Shortfall.UNFINISHED}
    return Answer(best.text, shortfalls, (*progress.notes, note), {"windows": facts})


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
    out_of_time: bool = False


_Aggregating: TypeAlias = Generator[Batch, Sequence[Outcome], _Progress]


def _aggregate_window(
    preset: Preset, progress: _Progress, messages: Sequence[Message], part: State, number: int, count: int
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
    (outcome,) = yield Batch(preset.layers, (call,), until=schedule.window_end(number, count))
    call_remarks = call_notes((call,), (outcome,))
    if isinstance(outcome, Draft) and not outcome.cut:
        return replace(progress, best=outcome, notes=(*progress.notes, *call_remarks))
    notes = (*progress.notes, *call_remarks, f"window {number} could not be aggregated; the best so far was kept")
    late = isinstance(outcome, Failure) and outcome.reason is Reason.DEADLINE
    return _Progress(progress.best or fallback_draft(part), (*progress.lost, number), notes, late)


def _window_state(state: State, new_drafts: slice, best: Draft | None, reserved: int) -> State:
    """The state for one window: the best text so far in the reserved places, then the new drafts.

    The reserved places share the total weight of the drafts that the best text was made from.
    """
    if best is None:
        return replace(state, references=state.references[new_drafts])
    made_from = [reference.participant for reference in state.references[: new_drafts.start]]
    weight = sum(participant.weight or 0.0 for participant in made_from) / reserved if has_weights(made_from) else None
    carried = Reference(replace(made_from[0], weight=weight), best)
    extra = "\n\n".join(filter(None, (repeated_note(reserved) if reserved > 1 else None, state.extra)))
    references = (*(carried,) * reserved, *state.references[new_drafts])
    return replace(state, references=references, extra=extra or None)


def _window_prompt(task: Task, preset: Preset, window: State) -> Prompt:
    return aggregator_prompt(task, preset, window.texts, window.reader_notes)
