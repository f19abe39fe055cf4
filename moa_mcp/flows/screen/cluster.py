"""Cluster & Filter (Wolf et al. 2025, arXiv 2503.05856): a minority that stands apart from the rest is set aside.

It assumes an honest majority. Short answers are told apart by what they are; all else by wording, where a draft
that differs in one number alone stands with the rest.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from moa_mcp.domain.model import Task
from moa_mcp.domain.preset import Preset
from moa_mcp.domain.stages import ClusterScreen
from moa_mcp.flows.compare.clustering import FEWEST, Parting, told_apart
from moa_mcp.flows.state import Stage, State


def clustered(task: Task, preset: Preset, state: State, spec: ClusterScreen) -> Stage:
    """Keep the larger of two groups of drafts if they stand apart; what is set aside is named in the notes."""
    if len(state.references) < FEWEST:
        return state.logging("screen", {"layer": state.layer, "kept": state.numbers, "how": "too few to compare"})
    told = yield from told_apart(task, preset, state.texts, layer=state.layer, place="screen", margin=spec.margin)
    return _kept(state.noting(*told.notes), told.groups, told.facts)


def _kept(state: State, groups: Parting, how: Mapping[str, str]) -> State:
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
    return replace(state, references=kept).noting(*_notes(state, groups)).logging("screen", entry)


def _notes(state: State, groups: Parting) -> list[str]:
    names = [", ".join(str(state.numbers[index]) for index in group) for group in (groups.larger, groups.smaller)]
    if groups.tied:
        halves = " and ".join(f"slots {name}" for name in names)
        return [f"the drafts of layer {state.layer} fall into two groups of one size, {halves}: all were kept"]
    if not groups.apart:
        return []
    slots = f"slots {names[1]} were" if len(groups.smaller) > 1 else f"slot {names[1]} was"
    return [f"in layer {state.layer} {slots} set aside: what is said there stands apart from the others"]
