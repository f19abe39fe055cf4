"""The only draft is the answer."""

from __future__ import annotations

from moa_mcp.errors import RunFailed
from moa_mcp.flows.state import Conclusion, State, nothing_asked
from moa_mcp.model import Answer, Task
from moa_mcp.preset import Preset
from moa_mcp.stages import Take


def take(task: Task, preset: Preset, state: State, spec: Take) -> Conclusion:
    """Answer with the first reference; makes no call.

    Raises:
        RunFailed: there is none.
    """
    yield from nothing_asked()
    if not state.references:
        raise RunFailed("There is no draft to answer with:", state.notes)
    draft = state.references[0].draft
    return Answer(draft.text, draft.cut, method=draft.method)
