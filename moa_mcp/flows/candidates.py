"""Candidates as a judge sees them: labelled with letters, shuffled by the run's seed, without model names.

Position and authorship both bias judges, so both are hidden. The mapping is kept in the facts of the run. The order
depends on the seed alone, so a resumed run sends the same prompts.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from string import ascii_uppercase
from typing import Any, TypeVar

from moa_mcp.domain.model import Task
from moa_mcp.domain.text import tag
from moa_mcp.flows.structured_reply import is_list, is_object

Thing = TypeVar("Thing")

_LABEL = re.compile(
    r"\W{0,20}(?:(?:candidate|answer|response|draft|option)\W{1,20})?([A-Z]{1,2})\W{0,20}", re.IGNORECASE
)
_NUMBER = re.compile(r"\W{0,20}(?:(?:candidate|answer|response|draft|option)\W{1,20})?(\d{1,3})\W{0,20}", re.IGNORECASE)
_WITH_REASON = re.compile(
    r"\W{0,20}(?:(?:candidate|answer|response|draft|option)\W{1,20})?([A-Z]{1,2})"
    r"(?:(?P<because>\W{1,5}(?:because|since)\b)|\W{0,3}[,.:;(\u2013\u2014-])(?P<rest>.*)",
    re.IGNORECASE | re.DOTALL,
)
_LABEL_KEYS = ("candidate", "letter", "label", "id", "choice", "answer", "response", "draft", "option", "name")
_RANK_KEYS = ("rank", "place", "position")
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
        """The index of the candidate that `label` names, else None.

        It may be "B", "Candidate B.", a place from 1, or "B, because …" as long as no other letter may be meant.
        """
        if found := _LABEL.fullmatch(label):
            return self.mapping.get(found[1].upper())
        if found := _NUMBER.fullmatch(label):
            return self.order[int(found[1]) - 1] if 0 < int(found[1]) <= len(self.order) else None
        found = _WITH_REASON.fullmatch(label)
        index = self.mapping.get(found[1].upper()) if found else None
        if found is None or found["because"]:
            return index
        return index if set(self.find_mentions(found["rest"])) <= {index} else None

    def indices(self, labels: Any, *, numbered: bool = True) -> list[int] | None:
        """The indices that a list of labels, or a text such as "C, A", names; None if any part names no candidate.

        The list may hold objects with a label each, or be an object of labels and ranks. `numbered`: whether a number
        is the place of a candidate; it is ambiguous if the candidates are not shown in the order of their letters.
        """
        parts: Any = re.split(r"[,;>]|\band\b", labels) if isinstance(labels, str) else _listed(labels)
        if not is_list(parts) or (is_object(labels) and len(labels) != len(self.order)):
            return None
        if not numbered and any(_NUMBER.fullmatch(str(part)) for part in parts):
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


def _listed(value: Any) -> Any:
    """The labels of a list of objects, or of an object of labels and ranks, the first rank first; else the value."""
    if is_object(value):
        return _by_rank(zip(value.values(), value, strict=True)) or _by_rank(value.items()) or value
    if not is_list(value) or not value or not all(map(is_object, value)):
        return value
    labels = [next((item[key] for key in _LABEL_KEYS if key in item), None) for item in value]
    ranks = [next((item[key] for key in _RANK_KEYS if key in item), None) for item in value]
    if not any(ranks):
        return labels
    return _by_rank(zip(ranks, labels, strict=True)) or value


def _by_rank(ranked: Iterable[tuple[Any, Any]]) -> list[Any] | None:
    """The labels in the order of their ranks; None unless the ranks are all numbers from 1 to the last."""
    pairs = [(str(rank).strip(), label) for rank, label in ranked]
    numbers = [str(number) for number in range(1, len(pairs) + 1)]
    return [dict(pairs)[number] for number in numbers] if {rank for rank, _ in pairs} == set(numbers) else None


def turned_candidates(shown: LabelledCandidates) -> LabelledCandidates:
    """The same candidates in the reverse order, with other letters, for a second look without the bias of the first."""
    return replace(shown, order=shown.order[::-1])


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
