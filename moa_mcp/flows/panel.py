"""The flow of a preset: the layers of the mixture, the preset's stages around them, and its way to conclude."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from moa_mcp.domain.model import Batch, Draft, Flow, Task
from moa_mcp.domain.preset import Preset, Proposer
from moa_mcp.domain.stages import AFTER_LAYER, BEFORE_LAYERS, STOPS
from moa_mcp.domain.variants import Variants
from moa_mcp.flows.calls import call_notes, lost_drafts
from moa_mcp.flows.conclude import conclude
from moa_mcp.flows.mixture import accept_drafts, drafts_of, layer_batch, mixture
from moa_mcp.flows.route.replace_duplicates import replace_duplicates
from moa_mcp.flows.slot import branch_for
from moa_mcp.flows.stages.draft_warnings import count_distinct_samples, draft_warnings
from moa_mcp.flows.state import Stage, State


def ask_panel(task: Task, preset: Preset) -> Flow:
    """Run `task` through the layers and stages of `preset`. If these compare answers, the writers have to state theirs.

    Raises:
        RunFailed: the first layer gave fewer drafts than `require_drafts`, a draft is missing and `on_partial` is
            refuse, or no model could write an answer.
    """
    task = replace(task, states_answer=task.states_answer or preset.compares_answers)
    return mixture(
        task, preset, before_layers=_before_layers, layer=_propose, after_layer=_after_layer, conclude=conclude
    )


def _before_layers(task: Task, preset: Preset, state: State) -> Stage:
    for stages in BEFORE_LAYERS:
        state = yield from _run_stage(stages, task, preset, state)
    return state


def _propose(task: Task, preset: Preset, state: State) -> Stage:
    """Run one layer. Slots may hold methods and panels; a gate may ask further slots to replace near-copies."""
    batch = _layer_batch(task, preset, state)
    outcomes = yield batch
    learned = {key: text for one in outcomes if isinstance(one, Draft) for key, text in one.learned.items()}
    state = replace(state, learned={**state.learned, **learned})
    state = state.with_notes(*call_notes(batch.all_calls, outcomes), *draft_warnings(task, batch.all_calls, outcomes))
    state = state.with_lost(lost_drafts(batch.all_calls, outcomes))
    drafts = drafts_of(state, batch, outcomes)
    state, drafts = yield from replace_duplicates(task, preset, state, drafts, _layer_batch)
    accepted = accept_drafts(preset, state, drafts, outcomes, may_lack=preset.conclude.works_without_drafts)
    return accepted if accepted.stop_reason != state.stop_reason else count_distinct_samples(accepted)


def _after_layer(task: Task, preset: Preset, state: State) -> Stage:
    for stages in AFTER_LAYER:
        if stages is not STOPS or state.layer < preset.layers - 1:  # after the last layer, no layer is left to stop
            state = yield from _run_stage(stages, task, preset, state)
    for stages in AFTER_LAYER:
        spec = stages.of(preset)
        if end_of_layer := stages.end_of_layer(spec):
            stage: Stage = end_of_layer(task, preset, state, spec)
            state = yield from stage
    return state


def _run_stage(stages: Variants[Any], task: Task, preset: Preset, state: State) -> Stage:
    """Run the preset's stage of this kind, if it has one and the layers have not stopped."""
    spec = stages.of(preset)
    if spec is None or state.stop_reason is not None:
        return state
    stage: Stage = stages.function(spec)(task, preset, state, spec)
    return (yield from stage)


def _layer_batch(task: Task, preset: Preset, state: State) -> Batch:
    """Build the calls and branches of one layer, one for each participant."""
    task = preset.conclude.task_for_proposers(task)

    def ask_inner(task: Task, inner: Preset) -> Flow:
        """Run a nested preset, which refuses to be partial if the outer one does."""
        refuses = preset.on_partial == "refuse"
        return ask_panel(task, inner.model_copy(update={"on_partial": "refuse"}) if refuses else inner)

    branches = (
        branch_for(task, one.slot, one, state, f"{state.layer}.{one.number}", panel=ask_inner)
        for one in state.participants
        if not isinstance(one.slot, Proposer)
    )
    return replace(layer_batch(task, preset, state), branches=tuple(branches))
