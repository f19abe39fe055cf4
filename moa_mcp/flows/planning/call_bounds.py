"""The least and the most calls and rounds of a preset, over all questions.

The scenarios of a dry run cover a route that asks a model. If the route reads the question itself, the preset is
played with questions for each way. If a gate chooses slots, the preset is also played with the slots sorted so that
those with the fewest calls come first.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from moa_mcp.domain.model import Task
from moa_mcp.domain.preset import Aggregator, NestedPreset, Preset, Proposer, Slot
from moa_mcp.flows.conclude.take import Take
from moa_mcp.flows.panel import ask_panel
from moa_mcp.flows.planning.dry_run import Bounds, bounds

EASY = "Which of the two is it?"
HARD = "Prove it step by step: is 2 + 2 more than 3? Compare both answers. Which is wrong, and why? " * 4
"""Questions that name no skill: a gate that compares skills asks all slots."""

_ANY = Task(HARD)


def call_bounds(preset: Preset, asked: Task = _ANY) -> Bounds:
    """The bounds over all questions, with the output and the embeddings of `asked`.

    Raises:
        PlanRefused: the preset may need more calls than any plan may have.
    """
    tasks = [replace(asked, question=question) for question in (HARD, *_other_questions(preset))]
    shapes = dict.fromkeys((preset, _cheapest_first(preset, asked)))
    found = [_find_bounds(task, shape) for task in tasks for shape in shapes]
    return Bounds(
        min(one.least_calls for one in found),
        max(one.most_calls for one in found),
        min(one.least_rounds for one in found),
        max(one.most_rounds for one in found),
    )


def early_end_note(found: Bounds, most_calls: int | None) -> tuple[str, ...]:
    """A note if a run may end at its limit of `most_calls` (None: no limit); else nothing."""
    if most_calls is None or found.most_calls <= most_calls:
        return ()
    note = f"if models fail or answer out of form, a run may come to {found.most_calls} calls, and the limit is "
    return (f"{note}{most_calls}: there it ends, with the best it has by then",)


def _find_bounds(task: Task, preset: Preset) -> Bounds:
    return bounds(lambda: ask_panel(task, preset))


def _other_questions(preset: Preset) -> Iterator[str]:
    """An easy question, and one for each set of skills; none if no route reads the question."""
    plans = list(_nested_plans(preset))
    if any(plan.route is not None and plan.route.reads_question for plan in plans):
        skills = (slot.skills for plan in plans for slot in plan.proposers)
        yield from dict.fromkeys((EASY, *(f"{', '.join(one)}?" for one in skills if one)))


def _cheapest_first(preset: Preset, task: Task) -> Preset:
    """The preset with its slots sorted so that a gate that prefers the first ones makes the fewest calls."""
    slots = [
        slot.model_copy(update={"plan": _cheapest_first(slot.plan, task)}) if isinstance(slot, NestedPreset) else slot
        for slot in preset.proposers
    ]
    if preset.route is not None and preset.route.chooses_slots:
        slots.sort(key=lambda slot: _least_calls(slot, task))
    return preset.model_copy(update={"proposers": tuple(slots)})


def _least_calls(slot: Slot, task: Task) -> int:
    """The least calls of one slot alone: one for a model; for a method, the bound of a panel with that slot alone."""
    if isinstance(slot, Proposer):
        return 1
    alone = Preset(proposers=(slot,), aggregator=Aggregator(model="a/a"), conclude=Take(by="take"))
    return _find_bounds(task, alone).least_calls


def _nested_plans(preset: Preset) -> Iterator[Preset]:
    """The preset and, recursively, all presets in its slots."""
    yield preset
    for slot in preset.proposers:
        if isinstance(slot, NestedPreset):
            yield from _nested_plans(slot.plan)
