"""The similarity of texts: by a model's embeddings, or by their common words.

Lexical similarity is the TF-IDF cosine, implemented here. Edit distance (rapidfuzz) would take quadratic time on long
drafts and penalise another order of the same points. TF-IDF takes one pass and gives less weight to words that all
drafts have. Neither kind notices that two fluent texts contradict each other, so results always name the kind.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import mul
from typing import Any, Literal, TypeAlias

from moa_mcp.domain.model import Batch, EmbedCall, Embeddings, Message, Outcome, Task

MAX_EMBEDDED_CHARS = 20_000
"""How many characters of a text are embedded: models accept about 8,000 tokens and refuse more."""

MAX_COMPARED_CHARS = 200_000
"""How many characters of a text are compared by words: the longest accepted texts would take seconds."""

# Chinese and Japanese: each sign counts, and each pair of neighbours, so that their order counts too.
_SIGNS = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff"
# Thai, Lao, Burmese and Khmer: letters and their marks without a break between words; all groups of 2 and 3 count.
_UNBROKEN = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"
# The scripts of India, whose vowel signs are part of a word, without their full stops.
_INDIC = "\u0900-\u0963\u0966-\u0dff"
_WORD = re.compile(rf"(?P<sign>[{_SIGNS}])|(?P<unbroken>[{_UNBROKEN}]+)|[{_INDIC}]+|[^\W{_SIGNS}{_UNBROKEN}{_INDIC}]+")
_ASCII_WORD = re.compile(r"\w+", re.ASCII)
"""A faster equivalent of `_WORD` for ASCII texts."""

Kind: TypeAlias = Literal["embeddings", "lexical"]
Matrix: TypeAlias = Sequence[Sequence[float]]
Vector: TypeAlias = Mapping[Any, float]


@dataclass(frozen=True, slots=True)
class Similarities:
    """The similarity of each pair of texts: `matrix[a][b]` is their cosine, 1 for the same text.

    `failure` says why there are no embeddings, if a model should have made them.
    """

    kind: Kind
    matrix: Matrix
    failure: str | None = None

    @property
    def facts(self) -> dict[str, str]:
        """The facts of the comparison, for the result."""
        return {"similarity": self.kind, **({"embeddings_lost": self.failure} if self.failure else {})}

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes for the reader of the answer."""
        return (f"drafts were compared by their words: {self.failure}",) if self.failure else ()


Comparing: TypeAlias = Generator[Batch, Sequence[Outcome], Similarities]


def compare_texts(task: Task, texts: Sequence[str], *, layer: int, until: float, place: str = "") -> Comparing:
    """Compare `texts`: one call for embeddings if the task names a model for them, else by their words.

    `place` makes the call's id unique if a layer compares more than once. `until` is the share of the run's time by
    which the call must end. If the embeddings fail or are unusable, words are compared, and `failure` says why.
    """
    if task.embeddings is None or len(texts) < 2:
        return Similarities("lexical", lexical_similarity(texts))
    identity = f"{layer}.embedder{f'.{place}' if place else ''}"
    messages = tuple(Message("user", text[:MAX_EMBEDDED_CHARS]) for text in texts)
    call = EmbedCall(identity, "embedder", layer, 1, task.embeddings, messages)
    (outcome,) = yield Batch(layer, (call,), until=until)
    if not isinstance(outcome, Embeddings):
        return Similarities("lexical", lexical_similarity(texts), f"the embeddings failed: {outcome}")
    vectors = unit_vectors(outcome.vectors, len(texts))
    if vectors is None:
        return Similarities("lexical", lexical_similarity(texts), "the embeddings could not be read")
    return Similarities("embeddings", _cosines([dict(enumerate(vector)) for vector in vectors]))


def lexical_similarity(texts: Sequence[str]) -> Matrix:
    """The TF-IDF cosines of `texts`; the document frequencies come only from these texts."""
    counts = [Counter(words_of(text[:MAX_COMPARED_CHARS].casefold())) for text in texts]
    document_counts = Counter(word for count in counts for word in count)
    rarity = {word: 1 + math.log((1 + len(texts)) / (1 + drafts)) for word, drafts in document_counts.items()}
    return _cosines([{word: (1 + math.log(times)) * rarity[word] for word, times in one.items()} for one in counts])


def words_of(text: str) -> list[str]:
    """The words of a text; in scripts without breaks between words, groups of their characters."""
    if text.isascii():
        return _ASCII_WORD.findall(text)
    words: list[str] = []
    before: re.Match[str] | None = None
    for found in _WORD.finditer(text):
        words += _groups(found[0]) if found["unbroken"] else (found[0],)
        if before and (found["sign"] or before["sign"]) and not text[before.end() : found.start()].strip(" "):
            words.append(f"{before[0]}{found[0]}")
        before = found
    return words


def _groups(run: str) -> Iterator[str]:
    """All groups of 2 and of 3 neighbours; a single character as it is."""
    yield from (run[place : place + size] for size in (2, 3) for place in range(len(run) - size + 1))
    if len(run) == 1:
        yield run


def unit_vectors(vectors: Sequence[Sequence[float]], count: int) -> list[list[float]] | None:
    """The vectors, scaled to length 1; None unless there are `count`, of one size, with finite numbers, none all 0."""
    scaled = [vector for vector in map(_unit_vector, vectors) if vector]
    same_size = len({len(vector) for vector in scaled}) == 1
    return scaled if same_size and len(scaled) == len(vectors) == count else None


def _unit_vector(vector: Sequence[float]) -> list[float] | None:
    """The vector, scaled to length 1 so that products do not overflow; None if that is not possible."""
    length = math.hypot(*vector)
    return [number / length for number in vector] if math.isfinite(length) and length > 0 else None


def _cosines(vectors: Sequence[Vector]) -> Matrix:
    matrix = [[1.0] * len(vectors) for _ in vectors]
    lengths = [math.hypot(*vector.values()) for vector in vectors]
    for row, one in enumerate(vectors):
        for column, other in enumerate(vectors[:row]):
            if one != other:
                matrix[row][column] = matrix[column][row] = _dot(one, other) / (lengths[row] * lengths[column] or 1.0)
    return matrix


def _dot(one: Vector, other: Vector) -> float:
    common = one.keys() & other.keys()
    # fsum does not round in between, so that the result does not depend on the order of the set.
    return math.fsum(map(mul, map(one.__getitem__, common), map(other.__getitem__, common)))
