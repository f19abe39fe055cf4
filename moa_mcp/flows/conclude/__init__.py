"""The ways to conclude: how the last drafts become the answer. Each file is one way, or is shared by several."""

from __future__ import annotations

from moa_mcp.domain.model import Answer, Task
from moa_mcp.domain.preset import Preset
from moa_mcp.domain.stages import CONCLUDES
from moa_mcp.flows.state import Conclusion, State
from moa_mcp.prompts.panel import NO_DRAFTS, guidance, missing_note


def conclude(task: Task, preset: Preset, state: State) -> Conclusion:
    """End the panel as the preset says, or, if the caller asks for guidance, with its drafts and what is missing.

    Without drafts, the aggregator answers alone, unless the preset's way to conclude works without drafts. Guidance
    never takes a call.
    """
    if task.output == "guidance" and (state.references or preset.layers > 1):
        drafts = guidance(state.texts, task.nonce) if state.references else NO_DRAFTS
        missing = [missing_note([str(one) for one in state.lost])] if state.lost else []
        return Answer("\n\n".join((drafts, *missing)))
    has_work = state.references or preset.conclude.works_without_drafts
    spec = preset.conclude if has_work else CONCLUDES.parse({"by": "synthesize"})
    end: Conclusion = CONCLUDES.function(spec)(task, preset, state, spec)
    return (yield from end)
