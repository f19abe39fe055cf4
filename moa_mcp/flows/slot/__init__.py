"""What can sit in a slot besides a model: one file per method, and the table that finds it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from moa_mcp.domain.fields import StrictModel
from moa_mcp.domain.model import Branch, Flow, Task
from moa_mcp.domain.preset import NestedPreset, Preset
from moa_mcp.domain.stages import ChainOfCode, TreeSearch
from moa_mcp.flows.slot.chain_of_code import chain_of_code
from moa_mcp.flows.slot.nesting import branch_in_slot
from moa_mcp.flows.slot.tree_search import tree_search
from moa_mcp.flows.state import Participant, State

Panel: TypeAlias = Callable[[Task, Preset], Flow]
"""Makes the flow of a whole preset; handed down, because a panel may hold panels."""

_METHODS: Mapping[type[StrictModel], Callable[[Task, State, Any], Flow]] = {
    TreeSearch: tree_search,
    ChainOfCode: chain_of_code,
}


def branch_for(task: Task, participant: Participant, state: State, branch_id: str, *, panel: Panel) -> Branch:
    """The branch that runs what sits in `participant`: a method, or another preset."""
    slot = participant.slot
    if isinstance(slot, NestedPreset):
        return branch_in_slot(branch_id, state.layer, participant.number, slot.preset, lambda: panel(task, slot.plan))
    name = getattr(slot, "method", type(slot).__name__)
    return branch_in_slot(
        branch_id, state.layer, participant.number, name, lambda: _METHODS[type(slot)](task, state, slot)
    )
