"""Prints a preset as a tree of text lines: its layers, their slots, and the stages between the layers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from moa_mcp.domain.preset import NestedPreset, Preset, Slot
from moa_mcp.domain.stages import AFTER_LAYER, BEFORE_LAYERS, describe_model
from moa_mcp.domain.variants import Variants


@dataclass(frozen=True, slots=True)
class Node:
    """A line of the tree, with its child nodes."""

    label: str
    below: Sequence[Node] = ()


def tree(preset: Preset) -> list[str]:
    """The lines of a preset's tree; the first line is its name."""
    return _lines(_panel(preset.name, preset))


def _panel(label: str, preset: Preset) -> Node:
    before = [node for stages in BEFORE_LAYERS for node in _stage(preset, stages)]
    return Node(label, (*before, *_proposer_layers(preset), _end(preset)))


def _proposer_layers(preset: Preset) -> Iterator[Node]:
    if preset.layers == 1:
        return
    yield Node("layer 1: proposers", [_slot(slot) for slot in preset.proposers])
    between = [node for stages in AFTER_LAYER for node in _stage(preset, stages)]
    if between:
        yield Node("after each layer of proposers", between)
    if preset.layers == 3:
        yield Node("layer 2: the same, reading the drafts before it")
    if preset.layers > 3:
        yield Node(f"layers 2 to {preset.layers - 1}: the same, each reading the drafts before it")


def _end(preset: Preset) -> Node:
    how = f"{details}; " if (details := preset.conclude.details) else ""
    aggregator = describe_model(preset.aggregator, "fallbacks")
    fallbacks = [Node(f"if it fails: {model}") for model in preset.aggregator.fallbacks]
    return Node(f"layer {preset.layers}: {how}aggregator {aggregator}", fallbacks)


def _slot(slot: Slot) -> Node:
    return _panel(slot.details, slot.plan) if isinstance(slot, NestedPreset) else Node(slot.details)


def _stage(preset: Preset, stages: Variants[Any]) -> Iterator[Node]:
    if stage := stages.of(preset):
        yield Node(f"{stages.key}: {stage.details}")


def _lines(node: Node) -> list[str]:
    lines = [node.label]
    for child in node.below:
        last = child is node.below[-1]
        first, *rest = _lines(child)
        lines.append(f"{'└── ' if last else '├── '}{first}")
        lines.extend(f"{'    ' if last else '│   '}{line}" for line in rest)
    return lines
