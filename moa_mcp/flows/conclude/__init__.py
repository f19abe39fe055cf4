"""The ends a panel can have: one file each, and the table that finds the one a preset names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from moa_mcp.domain.fields import StrictModel
from moa_mcp.domain.model import Answer, Task
from moa_mcp.domain.preset import Preset
from moa_mcp.domain.stages import (
    Advise,
    Analysis,
    Council,
    Critique,
    Pairs,
    Rate,
    Select,
    Subsets,
    Synthesize,
    Take,
    Vote,
    Windows,
)
from moa_mcp.flows.conclude.advise import advise, works_without_drafts
from moa_mcp.flows.conclude.analysis import analysis
from moa_mcp.flows.conclude.council import council
from moa_mcp.flows.conclude.critique import critique
from moa_mcp.flows.conclude.pairs import pairs
from moa_mcp.flows.conclude.rate import rate
from moa_mcp.flows.conclude.select import select
from moa_mcp.flows.conclude.subsets import subsets
from moa_mcp.flows.conclude.synthesize import synthesize
from moa_mcp.flows.conclude.take import take
from moa_mcp.flows.conclude.vote import vote
from moa_mcp.flows.conclude.windows import windows
from moa_mcp.flows.state import Conclusion, State
from moa_mcp.prompts.panel import guidance

_ENDS: Mapping[type[StrictModel], Callable[[Task, Preset, State, Any], Conclusion]] = {
    Synthesize: synthesize,
    Take: take,
    Select: select,
    Rate: rate,
    Pairs: pairs,
    Critique: critique,
    Council: council,
    Analysis: analysis,
    Vote: vote,
    Windows: windows,
    Subsets: subsets,
    Advise: advise,
}


def conclude(task: Task, preset: Preset, state: State) -> Conclusion:
    """End the panel as the preset says, or with its drafts alone where the caller wants guidance.

    Where there are no drafts there is nothing to judge or merge: the aggregator answers by itself.
    """
    if task.output == "guidance" and state.references:
        return Answer(guidance(state.texts, task.nonce))
    end = preset.conclude if state.references or works_without_drafts(preset) else Synthesize()
    return (yield from _ENDS[type(end)](task, preset, state, end))
