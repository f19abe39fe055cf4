"""Reads JSON from other services: a missing value or a wrong type gives an empty value, not an exception."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, cast

from moa_mcp.domain.errors import ProviderError, Reason
from moa_mcp.domain.text import one_line

MAX_COUNT = 1_000_000_000
"""More tokens than any call can have; a count above it, or below zero, is ignored."""


_decode = json.JSONDecoder().decode
"""`json.loads` without its input checks, for speed: this runs once per token."""


def parse(text: str) -> Any:
    """The value of a JSON text.

    Raises:
        ProviderError: MALFORMED, with the first words of the text, if it is not JSON.
    """
    try:
        return _decode(text)
    except (ValueError, RecursionError):
        # The parser raises RecursionError for a text of many nested opening brackets.
        raise ProviderError(Reason.MALFORMED, f"not JSON: {first_words(text)}") from None


def parse_or_text(text: str) -> Any:
    """The value of a JSON text; the text itself if it is not JSON."""
    try:
        return parse(text)
    except ProviderError:
        return text


def first_words(text: str) -> str:
    """The first whole words of a text. No word is cut, because redaction could not recognize a part of a key."""
    line = one_line(text, 80)
    return f"{line.rpartition(' ')[0]} …".lstrip() if line.endswith("…") else line


def mapping(value: object) -> dict[str, Any]:
    """`value` if it is a JSON object, else an empty one."""
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def value_at(report: Mapping[str, Any], path: str) -> object:
    """The value of a key, or of a key in an object: `usage.cost`. None if there is none."""
    outer, _, inner = path.partition(".")
    return mapping(report.get(outer)).get(inner) if inner else report.get(outer)


def sequence(value: object) -> list[object]:
    """`value` if it is a JSON array, else an empty one."""
    return cast("list[object]", value) if isinstance(value, list) else []


def string(value: object) -> str:
    """`value` if it is a string, else an empty one."""
    return value if isinstance(value, str) else ""


def name(value: object, max_chars: int = 200) -> str | None:
    """`value` as one line if it is a name of at most `max_chars` characters, else None.

    A longer name is not cut, because redaction could not recognize the first part of a key.
    """
    line = one_line(string(value), max_chars + 1)
    return line if 0 < len(line) <= max_chars else None


def count(value: object) -> int | None:
    """`value` if it is a plausible number of tokens, else None."""
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if 0 <= value <= MAX_COUNT else None
