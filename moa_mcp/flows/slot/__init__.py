"""The slots that hold no model: a method (each is a file in this folder) or another preset.

They run a flow in place of a call. Its calls name the branches they run in, and their ids are unique in the whole run:
the journal is keyed by call id, so that a resume finds each outcome.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeAlias, TypeVar

from moa_mcp.domain.model import PROPOSER, Answer, Batch, Branch, Call, Flow, Given, PanelCall, Task
from moa_mcp.domain.preset import NestedPreset, PanelSlot, Preset
from moa_mcp.domain.stages import SLOT_METHODS, SlotMethod
from moa_mcp.flows.state import Participant, State

AnyCall = TypeVar("AnyCall", bound=Call)

Panel: TypeAlias = Callable[[Task, Preset], Flow]
"""Makes the flow of a whole preset. It is a parameter, because importing it here would be circular."""


def branch_for(
    task: Task, slot: PanelSlot | SlotMethod, participant: Participant, state: State, branch_id: str, *, panel: Panel
) -> Branch:
    """Build the branch that runs the method or the preset in the slot of `participant`.

    As a model in its place would, it gets the participant's instruction and reads the drafts of the layer before.
    """
    number = participant.number
    if isinstance(slot, NestedPreset):
        inner = replace(task, given=_given(task.given, participant, state))
        return branch_in_slot(branch_id, state.layer, number, slot.preset, lambda: panel(inner, slot.plan))
    if isinstance(slot, PanelSlot):
        raise TypeError(f"The preset {slot.preset!r} of slot {number} was not looked up before the run.")
    method = slot.model_copy(update={"role": _join(slot.role, participant.instruction)})
    run: Callable[[Task, State, SlotMethod], Flow] = SLOT_METHODS.function(slot)
    return branch_in_slot(branch_id, state.layer, number, SLOT_METHODS.name(slot), lambda: run(task, state, method))


def _given(outer: Given, participant: Participant, state: State) -> Given:
    drafts, remarks = (tuple(state.texts), state.reader_notes) if state.texts else (outer.drafts, outer.remarks)
    return Given(drafts, remarks, _join(outer.role, participant.instruction))


def _join(*parts: str | None) -> str | None:
    return "\n\n".join(part for part in parts if part) or None


def branch_in_slot(branch_id: str, layer: int, slot: int, name: str, flow: Callable[[], Flow]) -> Branch:
    """Build the branch that runs `flow` in a proposer's slot; `name` is its model name in the call records."""
    stand_in = PanelCall(branch_id, PROPOSER, layer, slot, f"panel/{name}", ())
    return Branch(stand_in, lambda: prefix_ids(flow(), stand_in))


def prefix_ids(flow: Flow, place: PanelCall) -> Flow:
    """Run `flow` with all its batches moved to `place`: with the layer and slot of `place`, and its id as a prefix."""
    batch = next(flow)
    while True:
        outcomes = yield _prefix_batch(batch, place)
        try:
            batch = flow.send(outcomes)
        except StopIteration as stop:
            answer: Answer = stop.value
            return answer


def _prefix_batch(batch: Batch, place: PanelCall) -> Batch:
    def add_prefix(inner_id: str) -> str:
        return f"{place.id}/{inner_id}"

    def move_call(inner: AnyCall) -> AnyCall:
        return replace(
            inner,
            id=add_prefix(inner.id),
            branches=(place.id, *map(add_prefix, inner.branches)),
            repeat_of=inner.repeat_of and add_prefix(inner.repeat_of),
            layer=place.layer,
            slot=place.slot,
        )

    def move_branch(inner: Branch) -> Branch:
        stand_in = move_call(inner.call)
        return Branch(stand_in, lambda: prefix_ids(inner.flow(), place))

    return replace(
        batch,
        layer=place.layer,
        calls=tuple(move_call(inner) for inner in batch.calls),
        branches=tuple(move_branch(inner) for inner in batch.branches),
    )
