"""A small panel with known drafts, for the tests of what is done with them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from moa_mcp.domain.model import Call, Task
from moa_mcp.domain.preset import Preset
from moa_mcp.presets.library import PresetLibrary

TASK = Task("Why is the sky blue?", seed=7)
MERGED = "what the aggregator wrote"


def a_panel(slots: int = 4, layers: int = 2, **stages: Any) -> Preset:
    """A preset of `slots` proposers lab/p1, lab/p2 … with the stages as a file would have them."""
    proposers = [f"lab/p{number}" for number in range(1, slots + 1)]
    return Preset.model_validate({"proposers": proposers, "layers": layers, "aggregator": "lab/agg", **stages})


def packaged(name: str) -> Preset:
    """The preset of that name as it is shipped."""
    preset = PresetLibrary(None).get(name)
    assert isinstance(preset, Preset)
    return preset


def draft_of(number: int) -> str:
    """What the proposer of that slot always says."""
    return f"the draft of slot {number}"


def prompt_of(call: Call) -> str:
    """All that the model of a call reads."""
    return "\n\n".join(message.text for message in call.messages)


def role_texts(calls: Iterable[Call]) -> list[str]:
    """The roles of the calls that have one; the caller's own system text is a part of them."""
    systems = (message.text for call in calls for message in call.messages if message.speaker == "system")
    roles = (text.partition("You have been provided")[0].strip() for text in systems)
    return [role for role in roles if role]


def with_role(played: tuple[Call, ...], role: str) -> list[Call]:
    """The calls of that role."""
    return [call for call in played if call.role == role]


def is_plain(value: Any) -> bool:
    """Whether a fact survives being written as JSON and read again."""
    return bool(json.loads(json.dumps(value)) == value)
