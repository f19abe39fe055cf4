"""Reading JSON that others wrote: what is missing or of the wrong type is empty, never an exception."""

from __future__ import annotations

import json
from typing import Any, cast

from moa_mcp.domain.errors import ProviderError, Reason
from moa_mcp.domain.text import one_line

MAX_COUNT = 1_000_000_000
"""More tokens than any call can have; a count above it, or below zero, is no count."""


_decode = json.JSONDecoder().decode
"""`json.loads` without its look at what it was given: there is one of these per token."""


def parse(text: str) -> Any:
    """The value of a JSON text.

    Raises:
        ProviderError: MALFORMED, with the first words of what came instead.
    """
    try:
        return _decode(text)
    except (ValueError, RecursionError):
        # RecursionError: the parser's own answer to a text that is nothing but opening brackets.
        raise ProviderError(Reason.MALFORMED, f"not JSON: {_opening(text)}") from None


def _opening(text: str) -> str:
    """The first words of a text, none of them in part: one cut in two could be a key that is known no more."""
    line = one_line(text, 80)
    return f"{line.rpartition(' ')[0]} …".lstrip() if line.endswith("…") else line


def mapping(value: object) -> dict[str, Any]:
    """`value` if it is a JSON object, else an empty one."""
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def sequence(value: object) -> list[object]:
    """`value` if it is a JSON array, else an empty one."""
    return cast("list[object]", value) if isinstance(value, list) else []


def string(value: object) -> str:
    """`value` if it is a string, else an empty one."""
    return value if isinstance(value, str) else ""


def name(value: object, max_chars: int = 200) -> str | None:
    """`value` as one line if it is a name of at most so many characters, else None.

    A longer one is not cut: the first part of a key could be what is left.
    """
    line = one_line(string(value), max_chars + 1)
    return line if 0 < len(line) <= max_chars else None


def count(value: object) -> int | None:
    """`value` if it is a believable number of tokens, else None."""
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if 0 <= value <= MAX_COUNT else None
