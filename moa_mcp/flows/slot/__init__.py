"""What can fill a slot besides a model: a method, each a file here, or another preset."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from moa_mcp.domain.model import Branch, Flow, Task
from moa_mcp.domain.preset import NestedPreset, PanelSlot, Preset
from moa_mcp.domain.stages import SLOT_METHODS, SlotMethod
from moa_mcp.flows.slot.nesting import branch_in_slot
from moa_mcp.flows.state import State

Panel: TypeAlias = Callable[[Task, Preset], Flow]
"""Makes the flow of a whole preset; handed down, because a panel may hold panels."""


def branch_for(
    task: Task, slot: PanelSlot | SlotMethod, number: int, state: State, branch_id: str, *, panel: Panel
) -> Branch:
    """The branch that runs what fills the slot of that number: a method, or another preset."""
    if isinstance(slot, NestedPreset):
        return branch_in_slot(branch_id, state.layer, number, slot.preset, lambda: panel(task, slot.plan))
    if isinstance(slot, PanelSlot):
        raise TypeError(f"The preset {slot.preset!r} of slot {number} was not looked up before the run.")
    run: Callable[[Task, State, SlotMethod], Flow] = SLOT_METHODS.function(slot)
    return branch_in_slot(branch_id, state.layer, number, SLOT_METHODS.name(slot), lambda: run(task, state, slot))
