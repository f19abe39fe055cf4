"""Candidates as a judge sees them: labelled with letters, shuffled by the run's seed, without model names.

Position and authorship both bias judges, so both are hidden. The mapping is kept in the facts of the run. The order
depends on the seed alone, so a resumed run sends the same prompts.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from string import ascii_uppercase
from typing import Any, TypeVar

from moa_mcp.domain.model import Task
from moa_mcp.domain.text import tag
from moa_mcp.flows.structured_reply import is_list

Thing = TypeVar("Thing")

_LABEL = re.compile(
    r"\W{0,20}(?:(?:candidate|answer|response|draft|option)\W{1,20})?([A-Z]{1,2})\W{0,20}", re.IGNORECASE
)
# A single capital letter. The article "A" and the pronoun "I" are ordinary words, so these two count only
# before a word that can follow a label.
_MENTION = re.compile(
    r"(?<!\w)(?<!\w['\u2019])"
    r"(?:(?![AI]\s+[a-z])|(?=[AI]\s+(?:and|or|is|has|beats|wins|over|then)\b))"
    r"([A-Z]{1,2})(?!\w|['\u2019](?!s\b)\w)"
)


@dataclass(frozen=True, slots=True)
class LabelledCandidates:
    """Candidates in the order in which a judge sees them: `order[0]` is the index of candidate A."""

    order: tuple[int, ...]
    texts: tuple[str, ...]
    nonce: str

    @property
    def letters(self) -> tuple[str, ...]:
        return _letters(len(self.order))

    @property
    def mapping(self) -> Mapping[str, int]:
        """Map each letter to the candidate's index in the original order."""
        return dict(zip(self.letters, self.order, strict=True))

    def by_letter(self, things: Sequence[Thing]) -> dict[str, Thing]:
        """Map each letter to the item of `things` at the candidate's index, for the facts of the run."""
        return {label: things[index] for label, index in self.mapping.items()}

    def render(self, turned: int = 0) -> str:
        """The candidates as prompt text, each in tags of the run; the first `turned` of them move to the end.

        Each of several judges gets another value, so that no candidate is always the first.
        """
        blocks = [tag(self.texts[index], f"candidate {label}", self.nonce) for label, index in self.mapping.items()]
        return "\n\n".join((*blocks[turned:], *blocks[:turned]))

    def index(self, label: str) -> int | None:
        """The index of the candidate that `label` names, as "B" or "Candidate B."; else None."""
        found = _LABEL.fullmatch(label)
        return self.mapping.get(found.group(1).upper()) if found else None

    def indices(self, labels: Any) -> list[int] | None:
        """The indices that a list of labels, or a text such as "C, A", names; None if any part names no candidate."""
        parts: Any = re.split(r"[,;>]|\band\b", labels) if isinstance(labels, str) else labels
        if not is_list(parts):
            return None
        found = [self.index(str(part)) for part in parts]
        known = [index for index in found if index is not None]
        return list(dict.fromkeys(known)) if len(known) == len(found) else None

    def find_mentions(self, text: str) -> list[int]:
        """The indices of all candidates that a text mentions by letter, in order, with repeats."""
        named = (self.mapping.get(found.group(1)) for found in _MENTION.finditer(text))
        return [index for index in named if index is not None]

    def find_choice(self, text: str) -> int | None:
        """The only candidate that a text mentions; if it mentions several, the only one in its last line; else None."""
        for part in (text, text.rstrip().rpartition("\n")[2]):
            named = set(self.find_mentions(part))
            if len(named) == 1:
                return named.pop()
        return None


def label_candidates(task: Task, purpose: str, texts: Sequence[str]) -> LabelledCandidates:
    """Shuffle `texts` and label them with letters; the same run and `purpose` always give the same order."""
    return LabelledCandidates(shuffled_order(task.seed, purpose, len(texts)), tuple(texts), task.nonce)


def shuffled_order(seed: int, purpose: str, count: int) -> tuple[int, ...]:
    """A permutation of range(count) that depends only on the seed and the purpose."""
    return tuple(sorted(range(count), key=lambda index: (draw_number(seed, f"{purpose}/{index}"), index)))


def draw_number(seed: int, purpose: str) -> float:
    """A number from 0 (included) to 1 (excluded) that depends only on the seed and the purpose."""
    digest = hashlib.blake2b(f"{seed}/{purpose}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) / 2**64


@cache
def _letters(count: int) -> tuple[str, ...]:
    return tuple(map(letter, range(count)))


def letter(place: int) -> str:
    """The label for a place, counted from 0: A, B … Z, AA, AB …"""
    first, second = divmod(place, 26)
    return ascii_uppercase[second] if first == 0 else ascii_uppercase[first - 1] + ascii_uppercase[second]
