"""How alike texts are: by a model's embeddings, or by the words they share, and which of the two it was.

Lexical similarity is TF-IDF cosine, written out here. Edit distance (rapidfuzz) would take the square of a long
draft's length and punish another order of the same points; this takes one pass and weighs down what all drafts
say. Neither sees that two fluent texts contradict each other, so the kind is always told.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from operator import mul
from typing import Any, Literal, TypeAlias

from moa_mcp.domain.model import Batch, EmbedCall, Failure, Message, Outcome, Task
from moa_mcp.flows.structured_reply import is_list

MAX_EMBEDDED_CHARS = 20_000
"""Characters of a text that are embedded: models read about 8,000 tokens, and refuse more."""

MAX_COMPARED_CHARS = 200_000
"""Characters of a text whose words are compared: of the longest that are let in, all would take seconds."""

# Scripts without spaces between words: each character is a word.
_UNSPACED = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
_WORD = re.compile(rf"[{_UNSPACED}]|[^\W{_UNSPACED}]+")
_ASCII_WORD = re.compile(r"\w+", re.ASCII)
"""The same for a text of ASCII alone, in less time."""

Kind: TypeAlias = Literal["embeddings", "lexical"]
Matrix: TypeAlias = Sequence[Sequence[float]]
Vector: TypeAlias = Mapping[Any, float]


@dataclass(frozen=True, slots=True)
class Similarities:
    """How alike each two of some texts are: `matrix[a][b]` is their cosine, 1 for the same text.

    `lost` says why there are no embeddings where there should be some.
    """

    kind: Kind
    matrix: Matrix
    failure: str | None = None

    @property
    def facts(self) -> dict[str, str]:
        """What the result tells of it."""
        return {"similarity": self.kind, **({"embeddings_lost": self.failure} if self.failure else {})}

    @property
    def notes(self) -> tuple[str, ...]:
        """What the reader should know of it."""
        return (f"drafts were compared by their words: {self.failure}",) if self.failure else ()


Comparing: TypeAlias = Generator[Batch, Sequence[Outcome], Similarities]


def compare_texts(task: Task, texts: Sequence[str], *, layer: int, until: float, place: str = "") -> Comparing:
    """Compare `texts`: one call for embeddings if the task names a model for them, else by their words.

    `place` makes the call's id unique where a layer compares more than once; `until` is the share of the run's time
    by which it has to end. Vectors that fail or cannot be used are replaced by words, which `lost` tells.
    """
    if task.embeddings is None or len(texts) < 2:
        return Similarities("lexical", lexical_similarity(texts))
    identity = f"{layer}.embedder{f'.{place}' if place else ''}"
    messages = tuple(Message("user", text[:MAX_EMBEDDED_CHARS]) for text in texts)
    call = EmbedCall(identity, "embedder", layer, 1, task.embeddings, messages)
    (outcome,) = yield Batch(layer, (call,), until=until)
    if isinstance(outcome, Failure):
        return Similarities("lexical", lexical_similarity(texts), f"the embeddings failed: {outcome}")
    vectors = read_vectors(outcome.text, len(texts))
    if vectors is None:
        return Similarities("lexical", lexical_similarity(texts), "the embeddings could not be read")
    return Similarities("embeddings", _cosines([dict(enumerate(vector)) for vector in vectors]))


def lexical_similarity(texts: Sequence[str]) -> Matrix:
    """The TF-IDF cosines of `texts`; what words are rare is told from these texts alone."""
    counts = [Counter(_words(text[:MAX_COMPARED_CHARS].casefold())) for text in texts]
    spread = Counter(word for count in counts for word in count)
    rarity = {word: 1 + math.log((1 + len(texts)) / (1 + drafts)) for word, drafts in spread.items()}
    return _cosines([{word: (1 + math.log(times)) * rarity[word] for word, times in one.items()} for one in counts])


def _words(text: str) -> list[str]:
    return (_ASCII_WORD if text.isascii() else _WORD).findall(text)


def read_vectors(text: str, count: int) -> list[list[float]] | None:
    """The vectors of a reply: `count` of one length, of finite numbers not all 0; None if they are not."""
    try:
        value: Any = json.loads(text)
    except (ValueError, RecursionError):
        return None
    vectors = [_vector(one) for one in value] if is_list(value) else []
    good = [vector for vector in vectors if vector]
    alike = len({len(vector) for vector in good}) == 1
    return good if alike and len(good) == len(vectors) == count else None


def _vector(value: Any) -> list[float] | None:
    """The numbers of one vector, shortened to length 1 so that none is too large to multiply."""
    if not is_list(value) or not all(type(number) in (int, float) for number in value):
        return None
    try:
        length = math.hypot(*value)
    except OverflowError:
        return None
    return [number / length for number in value] if math.isfinite(length) and length > 0 else None


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
    # The sum without rounding in between: a set has no order that could be relied on.
    return math.fsum(map(mul, map(one.__getitem__, common), map(other.__getitem__, common)))
