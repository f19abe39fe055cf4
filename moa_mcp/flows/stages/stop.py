"""Whether the layers have done their work: nothing changes any more, or all say the same."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import combinations
from typing import Any

from moa_mcp.domain.fields import Entry
from moa_mcp.domain.model import Task
from moa_mcp.domain.preset import Preset
from moa_mcp.domain.stages import AgreementStop, CalmStop
from moa_mcp.flows.compare.similarity import similarities
from moa_mcp.flows.stages.residual import calm_layers
from moa_mcp.flows.state import Stage, State, nothing_asked


def stop(task: Task, preset: Preset, state: State) -> Stage:
    """End the layers if the preset's rule says so; without one, or where no other layer follows, they all run."""
    if preset.stop is None or state.ended is not None or state.layer >= preset.layers - 1:
        return state
    return (yield from _RULES[type(preset.stop)](task, preset, state, preset.stop))


def calm(task: Task, preset: Preset, state: State, spec: CalmStop) -> Stage:
    """End the layers after as many without a residual as the rule wants."""
    yield from nothing_asked()
    count = calm_layers(state)
    return _ended(state, f"{count} in a row brought no residual") if count >= spec.layers else state


def agreement(task: Task, preset: Preset, state: State, spec: AgreementStop) -> Stage:
    """End the layers once even the two drafts least alike agree; one draft alone agrees with nobody."""
    if len(state.references) < 2:
        return state
    found = yield from similarities(task, preset, state.texts, layer=state.layer, place="stop")
    least = min(found.matrix[a][b] for a, b in combinations(range(len(found.matrix)), 2))
    entry = {"layer": state.layer, "least_alike": round(least, 4), **found.facts}
    state = state.noting(*found.notes).logging("agreement", entry)
    return _ended(state, "its drafts agree") if least >= spec.agree - 1e-9 else state


_RULES: Mapping[type[Entry], Callable[[Task, Preset, State, Any], Stage]] = {
    CalmStop: calm,
    AgreementStop: agreement,
}


def _ended(state: State, why: str) -> State:
    ended = f"the layers ended with layer {state.layer}: {why}"
    return replace(state.telling(stopped={"layer": state.layer, "why": why}), ended=ended)
