"""Candidates as a judge sees them: lettered, in an order of the run's seed, without names.

Position and authorship both sway judges, so both are hidden; the mapping is kept for the run's record.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from string import ascii_uppercase

from moa_mcp.model import Task
from moa_mcp.text import fence


@dataclass(frozen=True, slots=True)
class Ballot:
    """Candidates in the order in which a judge is shown them: `order[0]` is the index of candidate A."""

    order: tuple[int, ...]
    texts: tuple[str, ...]
    nonce: str

    @property
    def letters(self) -> tuple[str, ...]:
        return tuple(letter(place) for place in range(len(self.order)))

    @property
    def mapping(self) -> Mapping[str, int]:
        """From a letter to the candidate's index in the order it was given."""
        return dict(zip(self.letters, self.order, strict=True))

    def shown(self) -> str:
        """The candidates as a prompt holds them, each in a fence of the run."""
        blocks = (
            fence(self.texts[index], f"candidate {label}", self.nonce)
            for label, index in self.mapping.items()
        )
        return "\n\n".join(blocks)

    def index(self, label: str) -> int | None:
        """The candidate that a judge's word means: a letter, alone or as in "Candidate B."; None if it is none."""
        found = re.fullmatch(
            r"\W*(?:(?:candidate|answer|response|draft|option)\W+)?([A-Z]{1,2})\W*", label, re.IGNORECASE
        )
        return self.mapping.get(found.group(1).upper()) if found else None


def ballot(task: Task, purpose: str, texts: Sequence[str]) -> Ballot:
    """Letter and shuffle `texts`; the same run and `purpose` always give the same order."""
    return Ballot(shuffled(task.seed, purpose, len(texts)), tuple(texts), task.nonce)


def shuffled(seed: int, purpose: str, count: int) -> tuple[int, ...]:
    """A permutation of range(count) that depends on the seed and the purpose alone."""
    return tuple(sorted(range(count), key=lambda index: (drawn(seed, f"{purpose}/{index}"), index)))


def drawn(seed: int, purpose: str) -> float:
    """A number from 0 up to 1 that depends on the seed and the purpose alone."""
    digest = hashlib.blake2b(f"{seed}/{purpose}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) / 2**64


def letter(place: int) -> str:
    """A, B … Z, AA, AB … for places from 0."""
    first, second = divmod(place, 26)
    return ascii_uppercase[second] if first == 0 else ascii_uppercase[first - 1] + ascii_uppercase[second]
