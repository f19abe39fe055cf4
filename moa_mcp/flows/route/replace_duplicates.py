"""What a gate still does once its slots have drafted: near-copies are left out, and the next in line is woken."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import replace
from typing import TypeAlias

from moa_mcp.domain.model import Batch, Draft, Outcome, Task
from moa_mcp.domain.preset import Preset
from moa_mcp.domain.stages import Gate
from moa_mcp.flows.calls import remarks, until
from moa_mcp.flows.compare.similarity import Comparing, Likeness, similarities
from moa_mcp.flows.route.short_circuit import outright
from moa_mcp.flows.stages.draft_warnings import LONG_ENOUGH
from moa_mcp.flows.state import Reference, State, is_weighed

Proposals: TypeAlias = Callable[[Task, Preset, State], Batch]
"""Makes the batch of one layer; handed down by the panel, which imports this."""

Woken: TypeAlias = Generator[Batch, Sequence[Outcome], tuple[State, tuple[Reference, ...]]]

WAKING_SHARE = 0.1
"""How much of a run's time, behind their layer's own, all that are woken have together."""


def wake(task: Task, preset: Preset, state: State, drafted: tuple[Reference, ...], proposals: Proposals) -> Woken:
    """Of the first layer's drafts, leave out each that is nearly a heavier one, and wake another slot for it.

    One slot is woken at a time, and also where nobody wrote a draft. The only draft of a gate that chose one
    slot alone is the answer. Without a gate, or behind the first layer, nothing happens.
    """
    if not isinstance(preset.route, Gate) or state.layer != 1 or not is_weighed(state.seats):
        return state, drafted
    woken = 0
    while True:
        likeness = yield from _likeness(task, preset, drafted, woken)
        copies = _copies(drafted, likeness, preset.route.near_copy)
        state, drafted = _without(_comparing(state, likeness), drafted, copies)
        enough = len(drafted) >= min(preset.min_drafts, len(state.seats))
        if not state.waiting or (enough and not copies):
            break
        woken += 1
        state, more = yield from _next(task, preset, state, proposals, woken)
        drafted = (*drafted, *more)
    if len(state.seats) == len(drafted) == 1 and woken == 0 and not copies and not drafted[0].draft.truncated:
        state = outright(task, state, drafted[0], "the gate chose one slot alone")
    return state, drafted


def _next(task: Task, preset: Preset, state: State, proposals: Proposals, woken: int) -> Woken:
    """Ask the first that waits in line."""
    seat, *waiting = state.waiting
    share = _last(preset) - WAKING_SHARE / (woken + 1)
    batch = replace(proposals(task, preset, replace(state, seats=(seat,))), until=share)
    (outcome,) = yield batch
    state = replace(state, seats=(*state.seats, seat), waiting=tuple(waiting))
    route = {**state.facts["route"], "woken": [*state.facts["route"].get("woken", ()), seat.number]}
    state = state.noting(*remarks(batch.asked, (outcome,))).telling(route=route)
    return state, (Reference(seat, outcome),) if isinstance(outcome, Draft) else ()


def _likeness(task: Task, preset: Preset, drafted: Sequence[Reference], woken: int) -> Comparing:
    texts = [one.text for one in drafted]
    return (yield from similarities(task, preset, texts, layer=1, place=f"copies.{woken}", by=_last(preset)))


def _comparing(state: State, likeness: Likeness) -> State:
    """Tell by what drafts were compared, once however often they were."""
    told = state.telling(route={**state.facts["route"], **likeness.facts})
    return told.noting(*(note for note in likeness.notes if note not in state.notes))


def _copies(drafted: Sequence[Reference], likeness: Likeness, near_copy: float) -> dict[int, int]:
    """The numbers of the seats whose drafts are nearly those of heavier ones, and the numbers of these.

    Short drafts are no copies: that several write "42" is not repetition but agreement.
    """
    copies: dict[int, int] = {}
    for index, one in enumerate(drafted):
        heavier = (
            other.seat.number
            for place, other in enumerate(drafted[:index])
            if other.seat.number not in copies
            and min(len(one.text), len(other.text)) >= LONG_ENOUGH
            and likeness.matrix[index][place] >= near_copy
        )
        if (original := next(heavier, None)) is not None:
            copies[one.seat.number] = original
    return copies


def _without(
    state: State, drafted: tuple[Reference, ...], copies: Mapping[int, int]
) -> tuple[State, tuple[Reference, ...]]:
    """Take the seats of near-copies out of the panel; their drafts are told of and not passed on."""
    if not copies:
        return state, drafted
    route = state.facts["route"]
    told = {str(number): original for number, original in copies.items()}
    state = state.telling(route={**route, "copies": {**route.get("copies", {}), **told}})
    for number, original in copies.items():
        state = state.noting(f"the draft of slot {number} is nearly that of slot {original} and was left out")
    seats = tuple(seat for seat in state.seats if seat.number not in copies)
    return replace(state, seats=seats), tuple(one for one in drafted if one.seat.number not in copies)


def _last(preset: Preset) -> float:
    """The share of the run's time by which the last that was woken is done."""
    return until(1, preset.layers - 1) + WAKING_SHARE
