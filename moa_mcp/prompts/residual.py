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

_BEFORE = (
    "The drafts here are those before the last round. Below is what that round changed in them, as an examiner found; "
    "the drafts do not have it yet. "
)

_BEHIND = (
    "The drafts here are those of the last round. Below is what that round changed against the one before, as an "
    "examiner found; the drafts have it already, good or bad. "
)

_USE = "Use it to fill gaps, to weigh other points of view and to mend mistakes; it may itself be mistaken."


def extractor(task: Task, pairs: Mapping[int, tuple[str, str]]) -> tuple[Message, ...]:
    """Ask what changed between two rounds; `pairs` are the earlier and the later reply of each slot, by its number."""
    turns = "\n\n".join(f"{turn.speaker}: {turn.text}" for turn in task.history)
    shown = {"earlier turns": turns, "message": user_turn(task), **_labelled(pairs)}
    tags = (tag(text, label, task.nonce) for label, text in shown.items() if text)
    return examination(_EXTRACT, MATERIAL, *tags, closing=_FORM)


def residual_note(residual: str, numbers: Sequence[int], missing: Sequence[int], *, before: bool) -> str:
    """Return the note on a residual for readers of drafts; `numbers` are the slots of the drafts they see.

    `missing` are the slots that the residual may speak of, and whose drafts they do not see. `before`: whether the
    drafts are those before the change, or those behind it.
    """
    legend = ", ".join(f"draft {place} is by model {number}" for place, number in enumerate(numbers, start=1))
    absent = f" No draft of model {' or '.join(map(str, missing))} is shown." if missing else ""
    return f"{_BEFORE if before else _BEHIND}{_USE} Here, {legend}.{absent}\n\n{residual}"


def _labelled(pairs: Mapping[int, tuple[str, str]]) -> dict[str, str]:
    return {
        f"{when} reply of Model {number}": text
        for number, pair in sorted(pairs.items())
        for when, text in zip(("earlier", "later"), pair, strict=True)
    }
