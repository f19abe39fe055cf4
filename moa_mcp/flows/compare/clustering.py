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

from moa_mcp.domain.model import Batch, Outcome, Task
from moa_mcp.flows.compare.answers import tally_answers
from moa_mcp.flows.compare.similarity import Kind, Matrix, Similarities, compare_texts

MARGINS: Mapping[Kind, float] = {"embeddings": 0.15, "lexical": 0.35}
"""How much the similarity within the larger group must exceed that across the groups, for the groups to be apart."""

MIN_TEXTS = 3
"""Two texts have no minority."""

MAX_TRIED = 10
"""For up to this many texts, all pairs of clusters are tried: at most 511."""


@dataclass(frozen=True, slots=True)
class TwoClusters:
    """Two groups of texts by their indices, the larger first, and the distance between them.

    `distance` is the mean similarity within the larger group minus that across the groups; `are_apart` is whether it
    exceeds the margin. If both have the same size, the group of the first text comes first.
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
    """The result of clustering: the groups, how they were found, and notes for the reader of the answer."""

    groups: TwoClusters
    facts: Mapping[str, str]
    notes: tuple[str, ...] = ()


def cluster_drafts(
    task: Task,
    texts: Sequence[str],
    *,
    layer: int,
    place: str,
    until: float,
    margin: float | None = None,
) -> Generator[Batch, Sequence[Outcome], Clustering]:
    """Split texts by their short answers, or, if these do not allow it, by similarity.

    Answers come first, because two texts that differ in one number are very similar. `layer`, `place` and `until` are
    those of the call for embeddings (see `compare_texts`).
    """
    by_answer = split_by_answer(texts)
    if by_answer is not None:
        return Clustering(by_answer, {"by": "answer"})
    found = yield from compare_texts(task, texts, layer=layer, place=place, until=until)
    return Clustering(split_in_two(found, margin), found.facts, found.notes)


def split_in_two(found: Similarities, margin: float | None = None) -> TwoClusters:
    """Split texts in two; fewer than three are one group. The default `margin` depends on the kind of similarity."""
    if len(found.matrix) < MIN_TEXTS:
        return TwoClusters(tuple(range(len(found.matrix))), (), 0.0, are_apart=False)
    best = max(_candidate_groups(found.matrix), key=lambda smaller: _fit(found.matrix, smaller))
    smaller, larger = sorted((best, _rest(found.matrix, best)), key=lambda group: (len(group), -group[0]))
    distance = _similarity_within(found.matrix, larger) - fmean(found.matrix[a][b] for a, b in product(larger, smaller))
    # Rounded: a distance of exactly the margin must not depend on the last bit of a sum.
    apart = round(distance, 9) > (MARGINS[found.kind] if margin is None else margin)
    return TwoClusters(larger, smaller, distance, apart)


def split_by_answer(texts: Sequence[str]) -> TwoClusters | None:
    """Split texts by their short answers; None if not all have one, or if three or more differ without a majority.

    Only the last paragraph is read: in open texts, the last number is mostly not an answer.
    """
    tally = tally_answers([text.strip().rpartition("\n\n")[2] for text in texts])
    votes = list(tally.votes.values())
    if len(texts) < MIN_TEXTS or None in tally.answers or (len(votes) > 2 and 2 * votes[0] <= len(texts)):
        return None
    first = tally.answers[tally.first]
    larger = tuple(index for index, answer in enumerate(tally.answers) if answer == first)
    smaller = tuple(index for index, answer in enumerate(tally.answers) if answer != first)
    return TwoClusters(larger, smaller, distance=1.0 if smaller else 0.0, are_apart=bool(smaller))


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
