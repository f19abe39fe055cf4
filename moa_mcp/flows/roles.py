"""A persona per slot, written once per task (SMoA, Li et al. 2024, arXiv 2411.03284)."""

from __future__ import annotations

from moa_mcp.flows.state import Stage, State, nothing_asked
from moa_mcp.model import Task
from moa_mcp.preset import Preset


def roles(task: Task, preset: Preset, state: State) -> Stage:
    """Give each seat its role; without `roles` in the preset, none."""
    yield from nothing_asked()
    return state
