"""Pass on the drafts that differ most: greedy max-min selection (RMoA, Xie et al. 2025, arXiv 2505.24442)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from statistics import fmean
from typing import Literal

from pydantic import Field
from pydantic_core import PydanticCustomError

from moa_mcp.domain.fields import Count
from moa_mcp.domain.model import Task
from moa_mcp.domain.preset import Preset
from moa_mcp.domain.stages import SCREENS, ScreenSpec
from moa_mcp.flows import schedule
from moa_mcp.flows.compare.similarity import Matrix, compare_texts
from moa_mcp.flows.screen import too_many_kept
from moa_mcp.flows.state import Stage, State


class DiverseScreen(ScreenSpec):
    """The drafts that differ most are kept, chosen one after the other by embeddings (RMoA)."""

    by: Literal["diversity"]
    keep: Count = Field(default=3, description="How many drafts the next layer reads.")

    def problems(self, preset: Preset) -> Iterator[PydanticCustomError]:
        """This screen cannot keep more drafts than a layer has."""
        return too_many_kept(self.keep, preset)


@SCREENS.register(DiverseScreen)
def keep_most_diverse(task: Task, preset: Preset, state: State, spec: DiverseScreen) -> Stage:
    """Keep the `keep` drafts that differ most, in slot order; if there are no more than that, keep all."""
    if spec.keep >= len(state.references):
        return state.with_log_entry("screen", {"layer": state.layer, "kept": state.numbers, "how": "none to drop"})
    found = yield from compare_texts(
        task, state.texts, layer=state.layer, place="screen", until=schedule.after_layer(state.layer, preset).screen
    )
    kept = select_diverse(found.matrix, spec.keep)
    dropped = [number for index, number in enumerate(state.numbers) if index not in kept]
    entry = {"layer": state.layer, "kept": [state.numbers[index] for index in kept], "dropped": dropped, **found.facts}
    references = tuple(state.references[index] for index in kept)
    return replace(state, references=references).with_notes(*found.notes).with_log_entry("screen", entry)


def select_diverse(matrix: Matrix, keep: int) -> list[int]:
    """The sorted indices of `keep` texts: first the one least similar to all, then the farthest from those chosen.

    Among equal ones, the lowest index is chosen. `keep` is at least 1; if it exceeds the number of texts, all are kept.
    """
    rest = list(range(len(matrix)))
    chosen = [min(rest, key=lambda index: fmean(matrix[index]))]
    rest.remove(chosen[0])
    while rest and len(chosen) < keep:
        farthest = min(rest, key=lambda index: max(matrix[index][one] for one in chosen))
        rest.remove(farthest)
        chosen.append(farthest)
    return sorted(chosen)
