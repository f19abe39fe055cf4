"""The ways to conclude: how the last drafts become the answer. Each file is one way, or is shared by several."""

from __future__ import annotations

from moa_mcp.domain.model import Answer, Task
from moa_mcp.domain.preset import Preset
from moa_mcp.domain.stages import CONCLUDES
from moa_mcp.flows.state import Conclusion, State
from moa_mcp.prompts.panel import guidance


def conclude(task: Task, preset: Preset, state: State) -> Conclusion:
    """End the panel as the preset says, or with its drafts alone if the caller asks for guidance.

    Without drafts, the aggregator answers alone, unless the preset's way to conclude works without drafts.
    """
    if task.output == "guidance" and state.references:
        return Answer(guidance(state.texts, task.nonce))
    has_work = state.references or preset.conclude.works_without_drafts
    spec = preset.conclude if has_work else CONCLUDES.parse({"by": "synthesize"})
    end: Conclusion = CONCLUDES.function(spec)(task, preset, state, spec)
    return (yield from end)
