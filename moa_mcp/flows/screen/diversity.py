"""Pass on the drafts that differ most: greedy max-min selection (RMoA, Xie et al. 2025, arXiv 2505.24442)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
from moa_mcp.flows.compare.substance import with_substance
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
    # By words, a refusal is unlike all answers, so it would always be kept.
    first = with_substance(state.texts) if found.kind == "lexical" else range(len(state.texts))
    kept = select_diverse(found.matrix, spec.keep, first)
    dropped = [number for index, number in enumerate(state.numbers) if index not in kept]
    entry = {"layer": state.layer, "kept": [state.numbers[index] for index in kept], "dropped": dropped, **found.facts}
    references = tuple(state.references[index] for index in kept)
    return replace(state, references=references).with_notes(*found.notes).with_log_entry("screen", entry)


def select_diverse(matrix: Matrix, keep: int, first: Sequence[int] | None = None) -> list[int]:
    """The sorted indices of `keep` texts: first the one least similar to all, then the farthest from those chosen.

    Among equal ones, the lowest index is chosen. `keep` is at least 1; if it exceeds the number of texts, all are kept.
    `first` are the indices that are chosen before any other (None: all are equal in this).
    """
    preferred = list(range(len(matrix))) if first is None else list(first)
    others = [index for index in range(len(matrix)) if index not in preferred]
    chosen: list[int] = []
    for group in (preferred, others):
        while group and len(chosen) < keep:
            found = min(group, key=lambda index: _likeness(matrix, index, chosen, group))
            group.remove(found)
            chosen.append(found)
    return sorted(chosen)


def _likeness(matrix: Matrix, index: int, chosen: Sequence[int], group: Sequence[int]) -> float:
    """How similar a text is to those chosen, or to its whole group while none is chosen."""
    return max(matrix[index][one] for one in chosen) if chosen else fmean(matrix[index][one] for one in group)
