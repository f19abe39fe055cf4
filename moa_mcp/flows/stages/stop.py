"""Whether the layers have done their work: nothing changes any more, or all say the same."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import combinations
from typing import Any

from moa_mcp.domain.fields import StrictModel
from moa_mcp.domain.model import Task
from moa_mcp.domain.preset import Preset
from moa_mcp.domain.stages import AgreementStop, NoChangeStop
from moa_mcp.flows import schedule
from moa_mcp.flows.compare.similarity import compare_texts
from moa_mcp.flows.stages.residual import unchanged_layers
from moa_mcp.flows.state import Stage, State, no_calls


def stop(task: Task, preset: Preset, state: State) -> Stage:
    """End the layers if the preset's rule says so; without one, or where no other layer follows, they all run."""
    if preset.stop is None or state.stop_reason is not None or state.layer >= preset.layers - 1:
        return state
    return (yield from _RULES[type(preset.stop)](task, preset, state, preset.stop))


def stop_without_change(task: Task, preset: Preset, state: State, spec: NoChangeStop) -> Stage:
    """End the layers after as many without a residual as the rule wants."""
    yield from no_calls()
    count = unchanged_layers(state)
    return _stop(state, f"{count} in a row brought no residual") if count >= spec.layers else state


def stop_on_agreement(task: Task, preset: Preset, state: State, spec: AgreementStop) -> Stage:
    """End the layers once even the two drafts least alike agree; one draft alone agrees with nobody."""
    if len(state.references) < 2:
        return state
    found = yield from compare_texts(
        task, state.texts, layer=state.layer, place="stop", until=schedule.after_layer(state.layer, preset).stop
    )
    least = min(found.matrix[a][b] for a, b in combinations(range(len(found.matrix)), 2))
    entry = {"layer": state.layer, "least_alike": round(least, 4), **found.facts}
    state = state.with_notes(*found.notes).with_log_entry("agreement", entry)
    return _stop(state, "its drafts agree") if least >= spec.agree - 1e-9 else state


_RULES: Mapping[type[StrictModel], Callable[[Task, Preset, State, Any], Stage]] = {
    NoChangeStop: stop_without_change,
    AgreementStop: stop_on_agreement,
}


def _stop(state: State, why: str) -> State:
    ended = f"the layers ended with layer {state.layer}: {why}"
    return replace(state.with_facts(stopped={"layer": state.layer, "why": why}), stop_reason=ended)
