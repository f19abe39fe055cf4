"""What changed between two layers, extracted and passed on (RMoA, Xie et al. 2025, arXiv 2505.24442)."""

from __future__ import annotations

from moa_mcp.flows.state import Stage, State, nothing_asked
from moa_mcp.model import Task
from moa_mcp.preset import Preset


def residual(task: Task, preset: Preset, state: State) -> Stage:
    """Extract the residual of the layer that just ran; without `residual` in the preset, nothing."""
    yield from nothing_asked()
    return state
