"""Which drafts of a layer are passed on: one file per way to choose, and the table that finds it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from moa_mcp.domain.fields import StrictModel
from moa_mcp.domain.model import Task
from moa_mcp.domain.preset import Preset
from moa_mcp.domain.stages import ClusterScreen, DiverseScreen, JudgedScreen
from moa_mcp.flows.screen.cluster import keep_larger_cluster
from moa_mcp.flows.screen.diversity import keep_most_diverse
from moa_mcp.flows.screen.judge import keep_judged
from moa_mcp.flows.state import Stage, State

_WAYS: Mapping[type[StrictModel], Callable[[Task, Preset, State, Any], Stage]] = {
    JudgedScreen: keep_judged,
    DiverseScreen: keep_most_diverse,
    ClusterScreen: keep_larger_cluster,
}


def screen(task: Task, preset: Preset, state: State) -> Stage:
    """Keep the references that the preset's screen keeps; without one, all."""
    if preset.screen is None or state.stop_reason is not None:
        return state
    return (yield from _WAYS[type(preset.screen)](task, preset, state, preset.screen))
