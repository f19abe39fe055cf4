"""Use one of the drafts as the answer, word for word, for the methods that choose instead of merging."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from moa_mcp.domain.model import Answer
from moa_mcp.flows.state import Reference


def draft_as_answer(chosen: Reference, method: Mapping[str, Any], failure: str | None = None) -> Answer:
    """The draft of `chosen` as the answer; `failure` says why the method could not choose, if so."""
    notes = () if failure is None else (failure,)
    return Answer(chosen.draft.text, bool(chosen.draft.unfinished or failure), notes, method)


def first_complete(references: Sequence[Reference]) -> Reference:
    """The draft to use if none could be chosen: the first complete one, or else the first."""
    return next((one for one in references if not one.draft.unfinished), references[0])
