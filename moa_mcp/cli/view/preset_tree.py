"""The shape of a preset as a small tree of text: its layers, their slots, and the stages between."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

from moa_mcp.domain.fields import ModelSettings, StrictModel
from moa_mcp.domain.preset import NestedPreset, Preset, Slot
from moa_mcp.domain.text import one_line

BEFORE = ("roles", "route")
BETWEEN = ("screen", "residual", "stop")


@dataclass(frozen=True, slots=True)
class Node:
    """A line, and the lines under it."""

    label: str
    below: Sequence[Node] = ()


def tree(preset: Preset) -> list[str]:
    """The lines of a preset's tree, its name on top."""
    return _lines(_panel(preset.name, preset))


def _panel(label: str, preset: Preset) -> Node:
    before = [node for name in BEFORE for node in _stage(preset, name)]
    return Node(label, (*before, *_proposer_layers(preset), _end(preset)))


def _proposer_layers(preset: Preset) -> Iterator[Node]:
    if preset.layers == 1:
        return
    yield Node("layer 1: proposers", [_slot(slot) for slot in preset.proposers])
    between = [node for name in BETWEEN for node in _stage(preset, name)]
    if between:
        yield Node("after each layer of proposers", between)
    if preset.layers == 3:
        yield Node("layer 2: the same, reading the drafts before it")
    if preset.layers > 3:
        yield Node(f"layers 2 to {preset.layers - 1}: the same, each reading the drafts before it")


def _end(preset: Preset) -> Node:
    aggregator = preset.aggregator
    end = preset.conclude
    how = "" if end.by == "synthesize" else f"{_describe(end)}; "
    settings = _settings(aggregator, leave_out={"model", "fallbacks"})
    fallbacks = [Node(f"if it fails: {model}") for model in aggregator.fallbacks]
    return Node(f"layer {preset.layers}: {how}aggregator {aggregator.model}{settings}", fallbacks)


def _slot(slot: Slot) -> Node:
    if isinstance(slot, NestedPreset):
        return _panel(f"preset {slot.preset}", slot.plan)
    if isinstance(slot, ModelSettings) and type(slot).__name__ == "Proposer":
        return Node(f"{slot.model}{_settings(slot, leave_out={'model'})}")
    return Node(_describe(slot))


def _stage(preset: Preset, name: str) -> Iterator[Node]:
    stage = getattr(preset, name)
    if stage is not None:
        yield Node(f"{name}: {_describe(stage)}")


def _describe(entry: StrictModel) -> str:
    """What an entry of a preset says, in the words of its keys."""
    return ", ".join(_described_fields(entry, leave_out=set())) or "on"


def _settings(entry: StrictModel, leave_out: set[str]) -> str:
    text = ", ".join(_described_fields(entry, leave_out))
    return f"  ({text})" if text else ""


def _described_fields(entry: StrictModel, leave_out: set[str]) -> Iterator[str]:
    for name, field in type(entry).model_fields.items():
        value = getattr(entry, name)
        if name not in leave_out and name in entry.model_fields_set and value is not None:
            yield f"{field.alias or name} {_value(value)}"


def _value(value: Any) -> str:
    if isinstance(value, ModelSettings):
        return f"{value.model}{_settings(value, leave_out={'model'})}"
    if isinstance(value, tuple):
        return " + ".join(map(_value, cast("Sequence[Any]", value)))
    return one_line(str(value), 60)


def _lines(node: Node) -> list[str]:
    lines = [node.label]
    for child in node.below:
        last = child is node.below[-1]
        first, *rest = _lines(child)
        lines.append(f"{'└── ' if last else '├── '}{first}")
        lines.extend(f"{'    ' if last else '│   '}{line}" for line in rest)
    return lines
