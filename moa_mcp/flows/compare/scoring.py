"""Read a score from 0 to 10 from a judge's reply: strictly first, then from prose."""

from __future__ import annotations

import re

from moa_mcp.flows.structured_reply import json_object

MAX_SCORE = 10

# All repeats are bounded, because the searched text comes from a model.
_NUMBER = re.compile(r"\W{0,9}?(-?\d{1,9}(?:\.\d{1,20})?)\s?(?:/\s?10)?\W{0,9}")
_WITH_WORDS = re.compile(r"\W{0,9}?(-?\d{1,9}(?:\.\d{1,20})?)(?:\s?(?:/|out of)\s?10)?(?!\s?/|-)[^\d%]{0,300}")
_SCORE = re.compile(
    r"\b(?:score|rating)\b[^\d-]{0,20}(-?\d{1,9}(?:\.\d{1,20})?)"
    r"|(-?\d{1,9}(?:\.\d{1,20})?)\s?(?:/|out of)\s?10\b",
    re.IGNORECASE,
)


def read_score(text: str) -> float | None:
    """The score of a well-formed reply, also with words behind it; None if it has no score from 0 to `MAX_SCORE`."""
    reply = json_object(text, "score")
    return _number(str(reply["score"]), _WITH_WORDS) if reply else None


def read_score_loosely(text: str) -> float | None:
    """The score of a reply in prose: a bare number, else the last number that is called a score or is out of 10."""
    if (score := _number(text)) is not None:
        return score
    found = _SCORE.findall(text)
    return _number("".join(found[-1])) if found else None


def _number(text: str, *more: re.Pattern[str]) -> float | None:
    found = next(filter(None, (form.fullmatch(text) for form in (_NUMBER, *more))), None)
    score = float(found.group(1)) if found else -1.0
    return score if 0 <= score <= MAX_SCORE else None
