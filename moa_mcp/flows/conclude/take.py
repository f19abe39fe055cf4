"""The only draft is the answer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from pydantic_core import PydanticCustomError

from moa_mcp.domain.errors import RunFailed
from moa_mcp.domain.fields import constraint_error
from moa_mcp.domain.model import Answer, Task
from moa_mcp.domain.preset import Preset
from moa_mcp.domain.stages import CONCLUDES, ConcludeSpec
from moa_mcp.flows.state import Conclusion, State, no_calls


class Take(ConcludeSpec):
    """The only draft is the answer: for presets whose one slot is a method."""

    by: Literal["take"]

    def problems(self, preset: Preset) -> Iterator[PydanticCustomError]:
        """`take` needs exactly one slot, because it cannot choose among drafts."""
        if (slots := len(preset.slots)) != 1:
            yield constraint_error(f"conclude by take needs exactly one slot, not {slots}", "one proposer", "conclude")


@CONCLUDES.register(Take)
def take(task: Task, preset: Preset, state: State, spec: Take) -> Conclusion:
    """Answer with the first reference, without a call.

    Raises:
        RunFailed: there is no reference.
    """
    yield from no_calls()
    if not state.references:
        raise RunFailed("There is no draft to answer with:", state.notes)
    draft = state.references[0].draft
    return Answer(draft.text, bool(draft.unfinished), method=draft.method)
