"""Reads from the numbers of a "too long" error how many tokens fit, and how many the provider counted.

Wordings differ, but arithmetic does not: what was counted is more than what fits, and a total is a sum.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations


@dataclass(frozen=True, slots=True)
class TokenCounts:
    """The tokens that fit, those that were counted (None: unknown), and the part of them that is the input.

    `input` is None if the provider counted only one thing, which then is the input alone or with the answer.
    """

    window: int
    counted: int | None = None
    input: int | None = None


MAX_NUMBERS = 6
"""More numbers than these are not searched for sums."""


def read_counts(numbers: Sequence[int], max_tokens: int | None) -> TokenCounts | None:
    """Read the numbers of a message, in their order; `max_tokens` is what was sent. None if there are no numbers."""
    if len(numbers) < 2:
        return TokenCounts(numbers[0]) if numbers else None
    if found := _from_total(numbers[:MAX_NUMBERS], max_tokens) or _from_parts(numbers, max_tokens):
        return found
    counted = max(numbers)
    return TokenCounts(max(number for number in numbers if number < counted), counted)


def _from_total(numbers: Sequence[int], max_tokens: int | None) -> TokenCounts | None:
    """The counts of "5000 tokens (1000 in the messages, 4000 in the completion)" beside a window."""
    for read, written in combinations(numbers, 2):
        total = read + written
        window = max((other for other in numbers if other < total and other not in (read, written)), default=None)
        if total in numbers and window is not None:
            return TokenCounts(window, total, written if read == max_tokens else read)
    return None


def _from_parts(numbers: Sequence[int], max_tokens: int | None) -> TokenCounts | None:
    """The counts of "190000 + 32000 > 200000", where the answer's part is `max_tokens` or the second number."""
    if len(numbers) != 3:
        return None
    written = max_tokens if max_tokens is not None and max_tokens in numbers else numbers[1]
    first, second = (number for number in numbers if number != written)
    window, read = max(first, second), min(first, second)
    if written != max_tokens and window != numbers[2]:
        return None
    if read + written <= window:
        window, read = read, window
    return TokenCounts(window, read + written, read)
