"""The ways to conclude: how the last drafts become the answer. Each file is one, or a part of several."""

from __future__ import annotations

from moa_mcp.domain.model import Answer, Task
from moa_mcp.domain.preset import Preset
from moa_mcp.domain.stages import CONCLUDES
from moa_mcp.flows.state import Conclusion, State
from moa_mcp.prompts.panel import guidance


def conclude(task: Task, preset: Preset, state: State) -> Conclusion:
    """End the panel as the preset says, or with its drafts alone where the caller wants guidance.

    Where there are no drafts there is nothing to judge or merge: the aggregator answers by itself.
    """
    if task.output == "guidance" and state.references:
        return Answer(guidance(state.texts, task.nonce))
    has_work = state.references or preset.conclude.works_without_drafts
    spec = preset.conclude if has_work else CONCLUDES.parse({"by": "synthesize"})
    end: Conclusion = CONCLUDES.function(spec)(task, preset, state, spec)
    return (yield from end)
