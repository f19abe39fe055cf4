"""Whether the layers have done their work."""

from __future__ import annotations

from moa_mcp.flows.state import Stage, State, nothing_asked
from moa_mcp.model import Task
from moa_mcp.preset import Preset


def stop(task: Task, preset: Preset, state: State) -> Stage:
    """End the layers if the preset's rule says so; without one, they all run."""
    yield from nothing_asked()
    return state
