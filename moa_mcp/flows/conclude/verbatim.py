"""One of the drafts is the answer, word for word: the end of the methods that choose instead of merging."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from moa_mcp.domain.model import Answer
from moa_mcp.flows.state import Reference


def draft_as_answer(chosen: Reference, method: Mapping[str, Any], failure: str | None = None) -> Answer:
    """The draft of `chosen` as the answer; `lost` says why it could not be chosen as the method would."""
    notes = () if failure is None else (failure,)
    return Answer(chosen.draft.text, chosen.draft.cut or failure is not None, notes, method)


def first_complete(references: Sequence[Reference]) -> Reference:
    """What stands in where nothing could be chosen: the first draft that is whole, or else the first."""
    return next((one for one in references if not one.draft.truncated), references[0])
