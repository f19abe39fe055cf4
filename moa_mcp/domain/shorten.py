"""Shortens the drafts in a prompt that does not fit a model's context."""

from __future__ import annotations

import re
from collections.abc import Sequence

OMISSION_MARK = "\n[… the middle of this text is left out …]\n"

_WRITTEN_BY_MODELS = (
    r"draft \d+|response \d+|candidate [A-Z]{1,2}|advice \d+|(?:earlier |later )?reply(?: of Model \d+)?"
)
"""The labels of text that may be shortened. Text of the caller, e.g. the question for a judge, never is."""


MIN_DRAFT_CHARS = 200
"""No draft is cut to fewer characters: less would tell a reader nothing."""


def shorten_drafts(texts: Sequence[str], nonce: str, max_chars: int) -> tuple[str, ...]:
    """Cut the drafts in the fences or tags of `nonce` until all `texts` together have at most `max_chars` characters.

    The longest drafts are cut first, down to the length of the next longest, and so on; each keeps its first 70 % and
    its last 30 %. Other text is never cut, and no draft is cut below MIN_DRAFT_CHARS, so the result may be longer than
    `max_chars`.
    """
    enclosed = re.compile(
        rf"(?P<open><<?(?P<label>{_WRITTEN_BY_MODELS}) {nonce}>>?\n)(?P<body>.*?)"
        rf"(?P<close>\n<(?:<end of |/)(?P=label) {nonce}>>?)",
        re.DOTALL,
    )
    lengths = [len(draft["body"]) for text in texts for draft in enclosed.finditer(text)]
    other = sum(map(len, texts)) - sum(lengths)
    longest = max(MIN_DRAFT_CHARS, _longest_allowed(lengths, max_chars - other))
    return tuple(
        enclosed.sub(lambda draft: f"{draft['open']}{_cut_middle(draft['body'], longest)}{draft['close']}", text)
        for text in texts
    )


def _longest_allowed(lengths: Sequence[int], room: int) -> int:
    """The length to which the longest must be cut so that all have room; the length of the longest if they have."""
    left = len(lengths)
    for length in sorted(lengths):
        if length * left > room:
            return max(0, room // left)
        room -= length
        left -= 1
    return max(lengths, default=0)


def _cut_middle(text: str, max_chars: int) -> str:
    if len(text) <= max_chars:
        return text
    kept = max_chars - len(OMISSION_MARK)
    tail = kept * 3 // 10
    return f"{text[: kept - tail]}{OMISSION_MARK}{text[-tail:]}"
