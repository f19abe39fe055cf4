"""What the screens that keep a fixed number of drafts have in common."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic_core import PydanticCustomError

from moa_mcp.domain.fields import constraint_error
from moa_mcp.domain.preset import Preset


def too_many_kept(keep: int, preset: Preset) -> Iterator[PydanticCustomError]:
    """Why a screen cannot keep that many drafts of a layer, if it cannot."""
    if keep > len(preset.slots):
        problem = f"screen keeps {keep}, but {preset.slots_in_words}"
        yield constraint_error(problem, f"at most {len(preset.slots)}", "screen", "keep")
