"""The ends a panel can have: one file each, and the table that finds the one a preset names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from moa_mcp.fields import Entry
from moa_mcp.flows.conclude.synthesize import synthesize
from moa_mcp.flows.conclude.take import take
from moa_mcp.flows.state import Conclusion, State
from moa_mcp.model import Answer, Task
from moa_mcp.preset import Preset
from moa_mcp.prompts import guidance
from moa_mcp.stages import Synthesize, Take

_ENDS: Mapping[type[Entry], Callable[[Task, Preset, State, Any], Conclusion]] = {
    Synthesize: synthesize,
    Take: take,
}


def conclude(task: Task, preset: Preset, state: State) -> Conclusion:
    """End the panel as the preset says, or with its drafts alone where the caller wants guidance."""
    if task.output == "guidance" and state.references:
        return Answer(guidance(state.texts, task.nonce))
    return (yield from _ENDS[type(preset.conclude)](task, preset, state, preset.conclude))
