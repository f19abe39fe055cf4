"""Between what and what the calls and rounds of a preset lie, whatever it is asked.

A model that routes is played in every scenario of a dry run. Where the words of the question themselves route,
the preset is played with questions that lead each way; where a gate chooses among slots, also with those first
that need the fewest calls.
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
"""Questions that speak of no skill: a gate which knows slots by their skills asks all of them."""

_ANY = Task(HARD)


def call_bounds(preset: Preset, asked: Task = _ANY) -> Bounds:
    """The bounds over all questions, each asked as `asked` is: for the same output, with the same embeddings.

    Raises:
        PlanRefused: it may come to more calls than any plan may have.
    """
    tasks = [replace(asked, question=question) for question in (HARD, *_others(preset))]
    shapes = dict.fromkeys((preset, _cheapest_first(preset, asked)))
    found = [_bounds_for(task, shape) for task in tasks for shape in shapes]
    return Bounds(
        min(one.least_calls for one in found),
        max(one.most_calls for one in found),
        min(one.least_rounds for one in found),
        max(one.most_rounds for one in found),
    )


def early_end_note(found: Bounds, most_calls: int | None) -> tuple[str, ...]:
    """What to know before a run whose limit is `most_calls` (None: there is none): a note, if it may end there."""
    if most_calls is None or found.most_calls <= most_calls:
        return ()
    note = f"if models fail or answer out of form, a run may come to {found.most_calls} calls, and the limit is "
    return (f"{note}{most_calls}: there it ends, with the best it has by then",)


def _bounds_for(task: Task, preset: Preset) -> Bounds:
    return bounds(lambda: ask_panel(task, preset))


def _others(preset: Preset) -> Iterator[str]:
    """An easy question, and one for each set of skills; none where every question goes the same way."""
    plans = list(_plans(preset))
    if any(plan.route is not None and plan.route.reads_question for plan in plans):
        skills = (slot.skills for plan in plans for slot in plan.proposers)
        yield from dict.fromkeys((EASY, *(f"{', '.join(one)}?" for one in skills if one)))


def _cheapest_first(preset: Preset, task: Task) -> Preset:
    """The preset with the slots in the order in which a gate would choose them for the fewest calls."""
    slots = [_inner_cheapest_first(slot, task) for slot in preset.proposers]
    if preset.route is not None and preset.route.chooses_slots:
        slots.sort(key=lambda slot: _calls_of(slot, task))
    return preset.model_copy(update={"proposers": tuple(slots)})


def _inner_cheapest_first(slot: Slot, task: Task) -> Slot:
    if not isinstance(slot, NestedPreset):
        return slot
    return slot.model_copy(update={"plan": _cheapest_first(slot.plan, task)})


def _calls_of(slot: Slot, task: Task) -> int:
    """How few calls one slot alone can come to: one for a model, for a method what a panel of it shows."""
    if isinstance(slot, Proposer):
        return 1
    alone = Preset(proposers=(slot,), aggregator=Aggregator(model="a/a"), conclude=Take(by="take"))
    return _bounds_for(task, alone).least_calls


def _plans(preset: Preset) -> Iterator[Preset]:
    """The preset and all that stand in its slots."""
    yield preset
    for slot in preset.proposers:
        if isinstance(slot, NestedPreset):
            yield from _plans(slot.plan)
