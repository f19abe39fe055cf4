"""Texts parted into the two groups that fit best, and whether the groups stand apart at all.

Two groups can be made of any texts, honest ones too: only the distance between them tells whether they mean
anything. The parting is what k-means with two centres looks for (unit vectors, squared distances), found by
trying all pairs of clusters where there are few, so that it needs no seed.
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
"""How much more alike the larger group has to be within than across, for the groups to stand apart."""

MIN_TEXTS = 3
"""Of two texts neither is a minority."""

MAX_TRIED = 10
"""Up to how many texts all pairs of clusters are tried: 511 of them."""


@dataclass(frozen=True, slots=True)
class TwoClusters:
    """Two groups of texts by their indices, the larger first, and how far they stand apart.

    `distance` is the mean similarity within the larger group less that across the two; `are_apart` whether that
    exceeds the margin. Groups of one size have no larger one: then the first text's comes first.
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
        """The larger group if there is one and it stands apart, else all texts."""
        return self.larger if self.dropped else tuple(sorted((*self.larger, *self.smaller)))

    @property
    def dropped(self) -> tuple[int, ...]:
        """The smaller group if it is dropped, else none."""
        return self.smaller if self.are_apart and not self.tied else ()


@dataclass(frozen=True, slots=True)
class Clustering:
    """How texts were told apart: their groups, by what that was, and what the reader should know of it."""

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
    """Part texts by their short answers, or, where they have none to go by, by how alike they are.

    Two texts that differ in one number are much alike: so answers come first. `layer`, `place` and `until` are
    those of the call for embeddings (see `compare_texts`).
    """
    by_answer = split_by_answer(texts)
    if by_answer is not None:
        return Clustering(by_answer, {"by": "answer"})
    found = yield from compare_texts(task, texts, layer=layer, place=place, until=until)
    return Clustering(split_in_two(found, margin), found.facts, found.notes)


def split_in_two(found: Similarities, margin: float | None = None) -> TwoClusters:
    """Part texts in two; fewer than three are one group. Without `margin`, that of the kind of similarity holds."""
    if len(found.matrix) < MIN_TEXTS:
        return TwoClusters(tuple(range(len(found.matrix))), (), 0.0, are_apart=False)
    best = max(_candidates(found.matrix), key=lambda smaller: _fit(found.matrix, smaller))
    smaller, larger = sorted((best, _others(found.matrix, best)), key=lambda group: (len(group), -group[0]))
    distance = _within(found.matrix, larger) - fmean(found.matrix[a][b] for a, b in product(larger, smaller))
    # Rounded: a distance of exactly the margin must not depend on the last bit of a sum.
    apart = round(distance, 9) > (MARGINS[found.kind] if margin is None else margin)
    return TwoClusters(larger, smaller, distance, apart)


def split_by_answer(texts: Sequence[str]) -> TwoClusters | None:
    """Part texts by the short answer they close with; None where not all have one, or three or more without a majority.

    Only the closing paragraph counts: in open texts the last number is mostly none that answers anything.
    """
    counted = tally_answers([text.strip().rpartition("\n\n")[2] for text in texts])
    votes = list(counted.votes.values())
    if len(texts) < MIN_TEXTS or None in counted.answers or (len(votes) > 2 and 2 * votes[0] <= len(texts)):
        return None
    first = counted.answers[counted.first]
    larger = tuple(index for index, answer in enumerate(counted.answers) if answer == first)
    smaller = tuple(index for index, answer in enumerate(counted.answers) if answer != first)
    return TwoClusters(larger, smaller, distance=1.0 if smaller else 0.0, are_apart=bool(smaller))


def _candidates(matrix: Matrix) -> Iterator[tuple[int, ...]]:
    """Groups that, with what they leave, are pairs of clusters: all of them, or for many texts one around each text."""
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
    yield (0,)  # where all are the same, no text is a centre


def _others(matrix: Matrix, group: Collection[int]) -> tuple[int, ...]:
    return tuple(index for index in range(len(matrix)) if index not in group)


def _fit(matrix: Matrix, group: tuple[int, ...]) -> float:
    """Larger the nearer all texts are to the centre of their group; rounded, so that ties are ties."""
    both = (group, _others(matrix, group))
    return round(sum(sum(matrix[a][b] for a, b in product(one, one)) / len(one) for one in both), 9)


def _within(matrix: Matrix, group: tuple[int, ...]) -> float:
    return fmean(matrix[a][b] for a, b in combinations(group, 2)) if len(group) > 1 else 1.0
