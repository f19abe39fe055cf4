"""Split texts into the two groups that fit best, and decide whether the groups are far enough apart.

Any texts can be split in two, also honest ones: only the distance between the groups shows whether the split means
anything. The split is the optimum of k-means with two centres (unit vectors, squared distances). For few texts it is
found by trying all pairs of clusters, so that no random seed is needed.
"""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from statistics import fmean
from typing import Any

from moa_mcp.domain.model import Batch, Outcome, Task
from moa_mcp.domain.preset import Preset
from moa_mcp.domain.shortfalls import NONE, Shortfall, Shortfalls
from moa_mcp.flows.compare.answers import Group, tally_answers
from moa_mcp.flows.compare.grouping import Judge, group_drafts
from moa_mcp.flows.compare.similarity import Kind, Matrix, Similarities, compare_texts, lexical_similarity

MAX_ACROSS: Mapping[Kind, float] = {"embeddings": 0.8, "lexical": 0.5}
"""The most similarity across two groups that are apart, as a share of the similarity within the larger one.

A share, because the similarity within a group is lower for paraphrases than for copies.
"""

MIN_WITHIN = 0.3
"""The least similarity by words within a group from which others can be apart: honest paraphrases share few words."""

MIN_TEXTS = 3
"""Two texts have no minority."""

MAX_TRIED = 10
"""For up to this many texts, all pairs of clusters are tried: at most 511."""


@dataclass(frozen=True, slots=True)
class TwoClusters:
    """Two groups of texts by their indices, the larger first, and the distance between them.

    `distance` is the mean similarity within the larger group minus that across the groups; `are_apart` is whether it
    is large enough. If both have the same size, the group of the first text comes first.
    """

    larger: tuple[int, ...]
    smaller: tuple[int, ...]
    distance: float
    are_apart: bool

    @property
    def tied(self) -> bool:
        return self.are_apart and len(self.larger) == len(self.smaller)

    @property
    def kept(self) -> tuple[int, ...]:
        """The larger group if the smaller one is dropped, else all texts."""
        return self.larger if self.dropped else tuple(sorted((*self.larger, *self.smaller)))

    @property
    def dropped(self) -> tuple[int, ...]:
        """The smaller group if it is dropped, else none."""
        return self.smaller if self.are_apart and not self.tied else ()


@dataclass(frozen=True, slots=True)
class Clustering:
    """The result of clustering: the groups, how they were found, and notes for the reader of the answer.

    `parts` are all groups of texts that say the same; the texts of `groups.smaller` need not.
    """

    groups: TwoClusters
    parts: tuple[Group, ...]
    facts: Mapping[str, Any]
    notes: tuple[str, ...] = ()
    shortfalls: Shortfalls = NONE


def cluster_drafts(
    task: Task, preset: Preset, texts: Sequence[str], judge: Judge, margin: float | None = None
) -> Generator[Batch, Sequence[Outcome], Clustering]:
    """Split texts in two: by their answers if each states one, else by embeddings, else by the word of a judge.

    Answers come first, because two texts that differ in one number are very similar. Words are compared only if the
    embeddings or the judge fail; the result is then degraded.
    """
    tally = tally_answers(texts, task.question)
    if None in tally.forms and task.embeddings is not None:
        similar = yield from compare_texts(task, texts, layer=judge.layer, place=judge.place, until=judge.until)
        return _by_similarity(similar, margin, similar.facts, similar.notes)
    found = yield from group_drafts(task, preset, texts, tally, judge)
    facts = {"by": "texts" if None in tally.forms else "answer", **found.facts}
    if None in tally.forms and found.shortfalls:
        similar = Similarities("lexical", lexical_similarity(texts))
        return _by_similarity(similar, margin, {**facts, **similar.facts}, found.notes)
    return Clustering(split_by_groups(found.groups), found.groups, facts, found.notes, found.shortfalls)


def _by_similarity(
    similar: Similarities, margin: float | None, facts: Mapping[str, Any], notes: tuple[str, ...]
) -> Clustering:
    groups = split_in_two(similar, margin)
    parts = (groups.larger, groups.smaller) if groups.are_apart else (groups.kept,)
    is_fallback = similar.kind == "lexical"
    return Clustering(groups, parts, facts, notes, frozenset({Shortfall.UNREAD_JUDGE}) if is_fallback else NONE)


def split_in_two(found: Similarities, margin: float | None = None) -> TwoClusters:
    """Split texts in two; fewer than three are one group.

    The groups are apart if their distance exceeds `margin`; if it is None, if the similarity across them is less than
    the share `MAX_ACROSS` of that within the larger one. Words decide only where three texts share many.
    """
    if len(found.matrix) < MIN_TEXTS:
        return TwoClusters(tuple(range(len(found.matrix))), (), 0.0, are_apart=False)
    best = max(_candidate_groups(found.matrix), key=lambda smaller: _fit(found.matrix, smaller))
    smaller, larger = sorted((best, _rest(found.matrix, best)), key=lambda group: (len(group), -group[0]))
    within = _similarity_within(found.matrix, larger)
    distance = within - fmean(found.matrix[a][b] for a, b in product(larger, smaller))
    least = (1 - MAX_ACROSS[found.kind]) * within if margin is None else margin
    # Rounded: a distance of exactly the margin must not depend on the last bit of a sum.
    is_far = round(distance, 9) > round(least, 9)
    is_known = margin is not None or found.kind == "embeddings" or (within >= MIN_WITHIN and len(larger) >= MIN_TEXTS)
    return TwoClusters(larger, smaller, distance, are_apart=is_far and is_known)


def split_by_groups(groups: Sequence[Group]) -> TwoClusters:
    """The largest of `groups` and the rest. They are apart if it has a majority, or if there are two of one size."""
    every = sum(map(len, groups))
    larger, smaller = groups[0], tuple(sorted(index for group in groups[1:] for index in group))
    is_clear = every >= MIN_TEXTS and (2 * len(larger) > every or len(groups) == 2)
    return TwoClusters(larger, smaller, 1.0 if smaller else 0.0, are_apart=is_clear and bool(smaller))


def _candidate_groups(matrix: Matrix) -> Iterator[tuple[int, ...]]:
    """Groups that make a pair of clusters with the rest: all of them, or, for many texts, one around each text."""
    count = len(matrix)
    if count <= MAX_TRIED:
        for size in range(1, count // 2 + 1):
            yield from combinations(range(count), size)
        return
    for centre in range(count):
        other = min(range(count), key=lambda index: matrix[centre][index])
        group = tuple(index for index in range(count) if matrix[centre][index] > matrix[other][index])
        if 0 < len(group) < count:
            yield group
    yield (0,)  # for texts that are all the same, the loop finds no group


def _rest(matrix: Matrix, group: Collection[int]) -> tuple[int, ...]:
    return tuple(index for index in range(len(matrix)) if index not in group)


def _fit(matrix: Matrix, group: tuple[int, ...]) -> float:
    """A number that is larger if the texts are nearer to the centre of their group; rounded, so that ties are exact."""
    both = (group, _rest(matrix, group))
    return round(sum(sum(matrix[a][b] for a, b in product(one, one)) / len(one) for one in both), 9)


def _similarity_within(matrix: Matrix, group: tuple[int, ...]) -> float:
    return fmean(matrix[a][b] for a, b in combinations(group, 2)) if len(group) > 1 else 1.0
