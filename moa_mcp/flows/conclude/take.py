"""A draft is the answer, word for word: the only one, or the one that a method chose."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Literal

from pydantic_core import PydanticCustomError

from moa_mcp.domain.errors import RunFailed
from moa_mcp.domain.fields import constraint_error
from moa_mcp.domain.model import Answer, Task
from moa_mcp.domain.preset import Preset
from moa_mcp.domain.shortfalls import Shortfall
from moa_mcp.domain.stages import CONCLUDES, ConcludeSpec
from moa_mcp.flows import schedule
from moa_mcp.flows.state import Conclusion, Reference, State, no_calls


class Take(ConcludeSpec):
    """The only draft is the answer: for presets whose one slot is a method."""

    by: Literal["take"]

    drafts_end: ClassVar[float | None] = schedule.RUN_END

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
    only = state.references[0]
    return draft_as_answer(only, only.draft.method)


def draft_as_answer(chosen: Reference, method: Mapping[str, Any], failure: str | None = None) -> Answer:
    """The draft of `chosen` as the answer; `failure` says why the method could not choose, if so."""
    found = chosen.draft.shortfalls_as_answer
    cut = f"the draft that is the answer {chosen.draft.unfinished}" if chosen.draft.unfinished else None
    notes = tuple(note for note in (failure, cut) if note)
    return Answer(chosen.draft.text, found | {Shortfall.UNREAD_JUDGE} if failure else found, notes, method)


def first_complete(references: Sequence[Reference]) -> Reference:
    """The draft to use if none could be chosen: the first complete one, or else the first."""
    return next((one for one in references if not one.draft.unfinished), references[0])
