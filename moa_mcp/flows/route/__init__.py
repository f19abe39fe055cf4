"""Who is asked: chosen before the first layer, by one of the ways a preset can name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from moa_mcp.domain.fields import StrictModel
from moa_mcp.domain.model import Task
from moa_mcp.domain.preset import Preset
from moa_mcp.domain.stages import Agreement, Difficulty, Gate
from moa_mcp.flows.route.agreement import agreement
from moa_mcp.flows.route.difficulty import difficulty
from moa_mcp.flows.route.gate import gate
from moa_mcp.flows.state import Stage, State

_WAYS: Mapping[type[StrictModel], Callable[[Task, Preset, State, Any], Stage]] = {
    Gate: gate,
    Difficulty: difficulty,
    Agreement: agreement,
}


def route(task: Task, preset: Preset, state: State) -> Stage:
    """Choose the participants, or answer outright, as the preset says; without a route all participants take part."""
    if preset.route is None or state.stop_reason is not None:
        return state
    return (yield from _WAYS[type(preset.route)](task, preset, state, preset.route))
