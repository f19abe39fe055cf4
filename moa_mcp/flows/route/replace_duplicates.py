"""What a route may want after the first layer: leave out near-copies, and ask the next slot of the reserve."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import replace
from typing import TypeAlias

from moa_mcp.domain.model import Batch, Draft, Outcome, Task
from moa_mcp.domain.preset import Preset
from moa_mcp.domain.stages import ROUTES
from moa_mcp.flows import schedule
from moa_mcp.flows.calls import call_notes
from moa_mcp.flows.compare.similarity import Comparing, Similarities, compare_texts
from moa_mcp.flows.route.short_circuit import answer_directly
from moa_mcp.flows.stages.draft_warnings import MIN_COMPARED_CHARS
from moa_mcp.flows.state import Reference, State, has_weights

Proposals: TypeAlias = Callable[[Task, Preset, State], Batch]
"""Makes the batch of one layer. It is a parameter, because `panel.py` imports this module."""

Replacing: TypeAlias = Generator[Batch, Sequence[Outcome], tuple[State, tuple[Reference, ...]]]


def replace_duplicates(
    task: Task, preset: Preset, state: State, drafts: tuple[Reference, ...], proposals: Proposals
) -> Replacing:
    """Leave out each draft of the first layer that nearly equals a heavier one, and ask a reserve slot instead.

    Reserve slots are asked one at a time, also if there are too few drafts. If the route chose a single slot, its draft
    is the answer. If the route wants no copies replaced, or after later layers, nothing changes.
    """
    similarity = preset.route.copy_similarity if preset.route else None
    if preset.route is None or similarity is None or state.layer != 1 or not has_weights(state.participants):
        return state, drafts
    replaced = 0
    while True:
        similarities = yield from _compare_drafts(task, preset, drafts, replaced)
        copies = _find_duplicates(drafts, similarities, similarity)
        state, drafts = _remove_duplicates(_record_comparison(state, similarities), drafts, copies)
        enough = len(drafts) >= min(preset.min_drafts, len(state.participants))
        if not state.reserve or (enough and not copies):
            break
        replaced += 1
        state, more = yield from _ask_next(task, preset, state, proposals, replaced)
        if not copies:
            state = _fill_gaps(state, more)
        drafts = (*drafts, *more)
    if len(state.participants) == len(drafts) == 1 and replaced == 0 and not copies and not drafts[0].draft.unfinished:
        state = answer_directly(task, state, drafts[0], f"the {ROUTES.name(preset.route)} chose one slot alone")
    return state, drafts


def _ask_next(task: Task, preset: Preset, state: State, proposals: Proposals, replaced: int) -> Replacing:
    """Ask the first slot of the reserve."""
    participant, *reserve = state.reserve
    batch = replace(
        proposals(task, preset, replace(state, participants=(participant,))),
        until=schedule.replacement_end(replaced, preset),
    )
    (outcome,) = yield batch
    state = replace(state, participants=(*state.participants, participant), reserve=tuple(reserve))
    route = {**state.facts["route"], "woken": [*state.facts["route"].get("woken", ()), participant.number]}
    state = state.with_notes(*call_notes(batch.all_calls, (outcome,))).with_facts(route=route)
    return state, (Reference(participant, outcome),) if isinstance(outcome, Draft) else ()


def _fill_gaps(state: State, stand_ins: Sequence[Reference]) -> State:
    """Each stand-in fills the place of one lost draft, which is then not missing any more."""
    for filled, stand_in in zip(state.lost, stand_ins, strict=False):
        state = state.with_notes(f"slot {stand_in.participant.number} stood in for {filled}")
    return replace(state, lost=state.lost[len(stand_ins) :])


def _compare_drafts(task: Task, preset: Preset, drafts: Sequence[Reference], replaced: int) -> Comparing:
    texts = [one.text for one in drafts]
    until = schedule.comparison_end(replaced, preset)
    return (yield from compare_texts(task, texts, layer=1, place=f"copies.{replaced}", until=until))


def _record_comparison(state: State, similarities: Similarities) -> State:
    """Record how the drafts were compared; a repeated note is added only once."""
    noted = state.with_facts(route={**state.facts["route"], **similarities.facts})
    return noted.with_notes(*(note for note in similarities.notes if note not in state.notes))


def _find_duplicates(drafts: Sequence[Reference], similarities: Similarities, near_copy: float) -> dict[int, int]:
    """Map each participant whose draft is a near-copy to the heavier participant whose draft it resembles.

    Short drafts are never copies: several drafts of "42" are agreement, not repetition.
    """
    copies: dict[int, int] = {}
    for index, one in enumerate(drafts):
        heavier = (
            other.participant.number
            for place, other in enumerate(drafts[:index])
            if other.participant.number not in copies
            and min(len(one.text), len(other.text)) >= MIN_COMPARED_CHARS
            and similarities.matrix[index][place] >= near_copy
        )
        if (original := next(heavier, None)) is not None:
            copies[one.participant.number] = original
    return copies


def _remove_duplicates(
    state: State, drafts: tuple[Reference, ...], copies: Mapping[int, int]
) -> tuple[State, tuple[Reference, ...]]:
    """Remove the participants of near-copies from the panel; their drafts appear in notes and facts only."""
    if not copies:
        return state, drafts
    route = state.facts["route"]
    originals = {str(number): original for number, original in copies.items()}
    state = state.with_facts(route={**route, "copies": {**route.get("copies", {}), **originals}})
    for number, original in copies.items():
        state = state.with_notes(f"the draft of slot {number} is nearly that of slot {original} and was left out")
    participants = tuple(participant for participant in state.participants if participant.number not in copies)
    return replace(state, participants=participants), tuple(
        one for one in drafts if one.participant.number not in copies
    )
