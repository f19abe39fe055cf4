"""What a gate still does once its slots have drafted: near-copies are left out, and the next in line is woken."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import replace
from typing import TypeAlias

from moa_mcp.domain.model import Batch, Draft, Outcome, Task
from moa_mcp.domain.preset import Preset
from moa_mcp.flows import schedule
from moa_mcp.flows.calls import call_notes
from moa_mcp.flows.compare.similarity import Comparing, Similarities, compare_texts
from moa_mcp.flows.route.gate import Gate
from moa_mcp.flows.route.short_circuit import answer_directly
from moa_mcp.flows.stages.draft_warnings import MIN_COMPARED_CHARS
from moa_mcp.flows.state import Reference, State, has_weights

Proposals: TypeAlias = Callable[[Task, Preset, State], Batch]
"""Makes the batch of one layer; handed down by the panel, which imports this."""

Replacing: TypeAlias = Generator[Batch, Sequence[Outcome], tuple[State, tuple[Reference, ...]]]


def replace_duplicates(
    task: Task, preset: Preset, state: State, drafts: tuple[Reference, ...], proposals: Proposals
) -> Replacing:
    """Of the first layer's drafts, leave out each that is nearly a heavier one, and wake another slot for it.

    One slot is woken at a time, and also where nobody wrote a draft. The only draft of a gate that chose one
    slot alone is the answer. Without a gate, or behind the first layer, nothing happens.
    """
    if not isinstance(preset.route, Gate) or state.layer != 1 or not has_weights(state.participants):
        return state, drafts
    replaced = 0
    while True:
        similarities = yield from _similarities(task, preset, drafts, replaced)
        copies = _duplicates(drafts, similarities, preset.route.near_copy)
        state, drafts = _remove_duplicates(_comparing(state, similarities), drafts, copies)
        enough = len(drafts) >= min(preset.min_drafts, len(state.participants))
        if not state.reserve or (enough and not copies):
            break
        replaced += 1
        state, more = yield from _ask_next(task, preset, state, proposals, replaced)
        drafts = (*drafts, *more)
    if len(state.participants) == len(drafts) == 1 and replaced == 0 and not copies and not drafts[0].draft.truncated:
        state = answer_directly(task, state, drafts[0], "the gate chose one slot alone")
    return state, drafts


def _ask_next(task: Task, preset: Preset, state: State, proposals: Proposals, replaced: int) -> Replacing:
    """Ask the first that waits in line."""
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


def _similarities(task: Task, preset: Preset, drafted: Sequence[Reference], replaced: int) -> Comparing:
    texts = [one.text for one in drafted]
    until = schedule.comparison_end(replaced, preset)
    return (yield from compare_texts(task, texts, layer=1, place=f"copies.{replaced}", until=until))


def _comparing(state: State, similarities: Similarities) -> State:
    """Tell by what drafts were compared, once however often they were."""
    noted = state.with_facts(route={**state.facts["route"], **similarities.facts})
    return noted.with_notes(*(note for note in similarities.notes if note not in state.notes))


def _duplicates(drafted: Sequence[Reference], similarities: Similarities, near_copy: float) -> dict[int, int]:
    """The numbers of the participants whose drafts are nearly those of heavier ones, and the numbers of these.

    Short drafts are no copies: that several write "42" is not repetition but agreement.
    """
    copies: dict[int, int] = {}
    for index, one in enumerate(drafted):
        heavier = (
            other.participant.number
            for place, other in enumerate(drafted[:index])
            if other.participant.number not in copies
            and min(len(one.text), len(other.text)) >= MIN_COMPARED_CHARS
            and similarities.matrix[index][place] >= near_copy
        )
        if (original := next(heavier, None)) is not None:
            copies[one.participant.number] = original
    return copies


def _remove_duplicates(
    state: State, drafted: tuple[Reference, ...], copies: Mapping[int, int]
) -> tuple[State, tuple[Reference, ...]]:
    """Take the participants of near-copies out of the panel; their drafts are told of and not passed on."""
    if not copies:
        return state, drafted
    route = state.facts["route"]
    copied = {str(number): original for number, original in copies.items()}
    state = state.with_facts(route={**route, "copies": {**route.get("copies", {}), **copied}})
    for number, original in copies.items():
        state = state.with_notes(f"the draft of slot {number} is nearly that of slot {original} and was left out")
    participants = tuple(participant for participant in state.participants if participant.number not in copies)
    return replace(state, participants=participants), tuple(
        one for one in drafted if one.participant.number not in copies
    )
