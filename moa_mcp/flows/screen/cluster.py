"""Cluster & Filter (Wolf et al. 2025, arXiv 2503.05856): drop a minority of drafts that differs from the rest.

This assumes an honest majority. Drafts that all state an answer are compared by it; others by a model's embeddings, for
which a draft that differs in only one number is similar, or else by a judge that says which of them say the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar, Literal

from pydantic import Field

from moa_mcp.domain.fields import ModelSettingsOrId, Share
from moa_mcp.domain.model import Task
from moa_mcp.domain.preset import Preset
from moa_mcp.domain.shortfalls import Shortfall
from moa_mcp.domain.stages import SCREENS, ScreenSpec
from moa_mcp.flows import schedule
from moa_mcp.flows.compare.clustering import MIN_TEXTS, TwoClusters, cluster_drafts
from moa_mcp.flows.compare.grouping import Judge
from moa_mcp.flows.state import Stage, State


class ClusterScreen(ScreenSpec):
    """Of two clusters of drafts the larger one is kept, if they are far enough apart (Cluster & Filter)."""

    by: Literal["cluster"]
    margin: Share | None = Field(
        default=None,
        description="How much less similar drafts have to be across two clusters than within the larger one, from 0 to "
        "1. Unset: a fifth less than within it.",
    )
    model: ModelSettingsOrId | None = Field(
        default=None,
        description="The model that says which drafts are the same where their answers do not show it and there are no "
        "embeddings. Unset: the aggregator's model.",
    )

    compares_answers: ClassVar[bool] = True


@SCREENS.register(ClusterScreen)
def keep_larger_cluster(task: Task, preset: Preset, state: State, spec: ClusterScreen) -> Stage:
    """Keep the larger of two groups of drafts if the groups are far enough apart; the notes name the dropped slots."""
    if len(state.references) < MIN_TEXTS:
        entry = {"layer": state.layer, "kept": state.numbers, "how": "too few to compare"}
        return state.with_log_entry("screen", entry)
    judge = Judge(spec.model, state.layer, schedule.after_layer(state.layer, preset).screen, "screen")
    clusters = yield from cluster_drafts(task, preset, state.texts, judge, spec.margin)
    state = state.with_notes(*clusters.notes).with_shortfalls(*clusters.shortfalls)
    if clusters.groups.tied:
        state = state.with_shortfalls(Shortfall.TIE)
    return _keep_group(state, clusters.groups, clusters.facts)


def _keep_group(state: State, groups: TwoClusters, how: Mapping[str, Any]) -> State:
    entry = {
        "layer": state.layer,
        "kept": [state.numbers[index] for index in groups.kept],
        "dropped": [state.numbers[index] for index in groups.dropped],
        "groups": [[state.numbers[index] for index in group] for group in (groups.larger, groups.smaller)],
        "distance": round(groups.distance, 4),
        "tie": groups.tied,
        **how,
    }
    kept = tuple(state.references[index] for index in groups.kept)
    return replace(state, references=kept).with_notes(*_notes(state, groups)).with_log_entry("screen", entry)


def _notes(state: State, groups: TwoClusters) -> list[str]:
    names = [", ".join(str(state.numbers[index]) for index in group) for group in (groups.larger, groups.smaller)]
    if groups.tied:
        halves = " and ".join(f"slots {name}" for name in names)
        return [f"the drafts of layer {state.layer} fall into two groups of one size, {halves}: all were kept"]
    if not groups.are_apart:
        return []
    slots = f"slots {names[1]} were" if len(groups.smaller) > 1 else f"slot {names[1]} was"
    return [f"in layer {state.layer} {slots} set aside: what is said there differs from the others"]
