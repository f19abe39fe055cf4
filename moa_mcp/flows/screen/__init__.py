"""Choose which drafts of a layer are passed on. Each file is one way to choose."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic_core import PydanticCustomError

from moa_mcp.domain.fields import constraint_error
from moa_mcp.domain.preset import Preset


def too_many_kept(keep: int, preset: Preset) -> Iterator[PydanticCustomError]:
    """Yield a problem if a screen is set to keep more drafts than a layer has."""
    if keep > len(preset.slots):
        problem = f"screen keeps {keep}, but {preset.slots_in_words}"
        yield constraint_error(problem, f"at most {len(preset.slots)}", "screen", "keep")
