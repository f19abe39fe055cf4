"""The prompts of the methods that compare layers: for the extractor, and for the readers of residuals.

The drafts of two layers are paired by the number of their slot, in slot order. They are not lettered and shuffled
as elsewhere, because the model must see which drafts belong together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from moa_mcp.domain.model import Message, Task
from moa_mcp.domain.text import tag
from moa_mcp.prompts.judge import MATERIAL, examination
from moa_mcp.prompts.panel import user_turn

_EXTRACT = (
    "A panel replies to the message below in rounds. In each, its members read the replies of the round before "
    "and write anew. You say what the last round changed, as the residual branch of a network would: only what "
    "differs, never a summary. Compare, member by member, the earlier reply with the later one. Three kinds of "
    "change count: errors or invented facts that came in; details that were lost, added or altered; new facts or "
    "points of view. Another wording of the same content is no change."
)

_FORM = (
    "Begin with the line `Residuals Detected: Yes` or `Residuals Detected: No`. After Yes write one line for each "
    "model with a change, as `Model 1: what changed`, with its number as above. After No write nothing."
)

_RESIDUAL = (
    "What the last round changed against the one before it, as an examiner found. Use it to fill gaps, to weigh "
    "other points of view and to mend mistakes; it may itself be mistaken."
)


def extractor(task: Task, earlier: Mapping[int, str], later: Mapping[int, str]) -> tuple[Message, ...]:
    """Ask what changed between the replies of two rounds, each keyed by its slot number."""
    turns = "\n\n".join(f"{turn.speaker}: {turn.text}" for turn in task.history)
    shown = {"earlier turns": turns, "message": user_turn(task), **_pair_by_slot(earlier, later)}
    tags = (tag(text, label, task.nonce) for label, text in shown.items() if text)
    return examination(_EXTRACT, MATERIAL, *tags, closing=_FORM)


def residual_note(residual: str, numbers: Sequence[int]) -> str:
    """Return the note on a residual for readers of drafts; `numbers` are the slots of the drafts they see."""
    legend = ", ".join(f"draft {place} is by model {number}" for place, number in enumerate(numbers, start=1))
    return f"{_RESIDUAL} Here, {legend}.\n\n{residual}"


def _pair_by_slot(earlier: Mapping[int, str], later: Mapping[int, str]) -> dict[str, str]:
    replies = {("earlier", number): text for number, text in earlier.items()}
    replies |= {("later", number): text for number, text in later.items()}
    order = sorted(replies, key=lambda place: (place[1], place[0]))
    return {f"{when} reply of Model {number}": replies[when, number] for when, number in order}
