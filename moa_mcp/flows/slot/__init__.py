"""The slots that hold no model: a method (each is a file in this folder) or another preset."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from moa_mcp.domain.model import Branch, Flow, Task
from moa_mcp.domain.preset import NestedPreset, PanelSlot, Preset
from moa_mcp.domain.stages import SLOT_METHODS, SlotMethod
from moa_mcp.flows.slot.nesting import branch_in_slot
from moa_mcp.flows.state import State

Panel: TypeAlias = Callable[[Task, Preset], Flow]
"""Makes the flow of a whole preset. It is a parameter, because importing it here would be circular."""


def branch_for(
    task: Task, slot: PanelSlot | SlotMethod, number: int, state: State, branch_id: str, *, panel: Panel
) -> Branch:
    """Build the branch that runs the method or the preset in slot `number`."""
    if isinstance(slot, NestedPreset):
        return branch_in_slot(branch_id, state.layer, number, slot.preset, lambda: panel(task, slot.plan))
    if isinstance(slot, PanelSlot):
        raise TypeError(f"The preset {slot.preset!r} of slot {number} was not looked up before the run.")
    run: Callable[[Task, State, SlotMethod], Flow] = SLOT_METHODS.function(slot)
    return branch_in_slot(branch_id, state.layer, number, SLOT_METHODS.name(slot), lambda: run(task, state, slot))
