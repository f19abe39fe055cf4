"""A small panel with known drafts, for the tests of what is done with them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, TypeAlias

from moa_mcp.model import Call, Draft, Failure, Task
from moa_mcp.preset import Preset
from moa_mcp.presets import PresetLibrary
from moa_mcp.testing.playing import Reply

TASK = Task("Why is the sky blue?", seed=7)
MERGED = "what the aggregator wrote"

Said: TypeAlias = str | Draft | Failure
Judge: TypeAlias = Callable[[Call], Said]


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


def with_judge(judge: Judge) -> Reply:
    """Proposers and aggregator say the known words; whoever else is asked says what `judge` says."""

    def reply(call: Call) -> Said:
        if call.role == "proposer":
            return draft_of(call.slot)
        return MERGED if call.role == "aggregator" else judge(call)

    return reply


def with_role(played: tuple[Call, ...], role: str) -> list[Call]:
    """The calls of that role."""
    return [call for call in played if call.role == role]


def candidates(call: Call) -> dict[str, str]:
    """The candidates that a judge is shown: letter and text, in the order in which they stand."""
    prompt = next(message.text for message in call.messages if message.speaker == "user")
    return dict(re.findall(r"<<candidate ([A-Z]+) \w+>>\n(.*?)\n<<end of", prompt, re.DOTALL))


def letter_of(call: Call, number: int) -> str:
    """The letter under which a judge sees the draft of that slot."""
    return {text: letter for letter, text in candidates(call).items()}[draft_of(number)]


def told(**fields: Any) -> str:
    """A reply in good form."""
    return json.dumps(fields)


def is_plain(value: Any) -> bool:
    """Whether a fact survives being written as JSON and read again."""
    return bool(json.loads(json.dumps(value)) == value)
