"""Stop the layers early, when nothing changes any more or all drafts agree."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations
from typing import Literal

from pydantic import Field
from pydantic_core import PydanticCustomError

from moa_mcp.domain.fields import Count, Share, constraint_error
from moa_mcp.domain.model import Task
from moa_mcp.domain.preset import Preset
from moa_mcp.domain.stages import STOPS, StopSpec
from moa_mcp.flows import schedule
from moa_mcp.flows.compare.similarity import compare_texts
from moa_mcp.flows.stages.residual import unchanged_layers
from moa_mcp.flows.state import Stage, State, no_calls


class NoChangeStop(StopSpec):
    """The layers end when nothing changes any more (RMoA). Needs `residual`."""

    by: Literal["residual"]
    layers: Count = Field(default=1, description="After how many layers in a row without a change the layers end.")

    def problems(self, preset: Preset) -> Iterator[PydanticCustomError]:
        """This stop counts residuals, so it needs a residual stage."""
        if preset.residual is None:
            yield constraint_error("stop by residual needs a residual stage", "a key residual beside it", "stop")


class AgreementStop(StopSpec):
    """The layers end when the drafts of a layer are alike."""

    by: Literal["agreement"]
    agree: Share = Field(default=0.9, description="How alike every two drafts have to be, from 0 to 1.")


@STOPS.register(NoChangeStop)
def stop_without_change(task: Task, preset: Preset, state: State, spec: NoChangeStop) -> Stage:
    """Stop the layers after `spec.layers` layers in a row without a residual."""
    yield from no_calls()
    count = unchanged_layers(state)
    return _stop(state, f"{count} in a row brought no residual") if count >= spec.layers else state


@STOPS.register(AgreementStop)
def stop_on_agreement(task: Task, preset: Preset, state: State, spec: AgreementStop) -> Stage:
    """Stop the layers when even the two least similar drafts agree; a single draft never stops them."""
    if len(state.references) < 2:
        return state
    found = yield from compare_texts(
        task, state.texts, layer=state.layer, place="stop", until=schedule.after_layer(state.layer, preset).stop
    )
    least = min(found.matrix[a][b] for a, b in combinations(range(len(found.matrix)), 2))
    entry = {"layer": state.layer, "least_alike": round(least, 4), **found.facts}
    state = state.with_notes(*found.notes).with_log_entry("agreement", entry)
    return _stop(state, "its drafts agree") if least >= spec.agree - 1e-9 else state


def _stop(state: State, why: str) -> State:
    reason = f"the layers ended with layer {state.layer}: {why}"
    return replace(state.with_facts(stopped={"layer": state.layer, "why": why}), stop_reason=reason)
