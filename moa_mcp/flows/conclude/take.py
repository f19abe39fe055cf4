"""The only draft is the answer."""

from __future__ import annotations

from moa_mcp.domain.errors import RunFailed
from moa_mcp.domain.model import Answer, Task
from moa_mcp.domain.preset import Preset
from moa_mcp.domain.stages import Take
from moa_mcp.flows.state import Conclusion, State, no_calls


def take(task: Task, preset: Preset, state: State, spec: Take) -> Conclusion:
    """Answer with the first reference; makes no call.

    Raises:
        RunFailed: there is none.
    """
    yield from no_calls()
    if not state.references:
        raise RunFailed("There is no draft to answer with:", state.notes)
    draft = state.references[0].draft
    return Answer(draft.text, draft.cut, method=draft.method)
