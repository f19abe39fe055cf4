"""Extract the short final answer of a draft, in a normal form: equal answers become equal texts.

The forms are tried from the most to the least certain: the user's own pattern, a box, a line that states the answer,
a letter in parentheses, the last number, a text that is itself short.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from moa_mcp.domain.regex import Pattern

MAX_ANSWER_CHARS = 200
"""How many characters of an answer are used; the rest is ignored."""

MAX_WHOLE_CHARS = 60
"""A text of one line with up to this many characters is itself an answer."""

_SEARCHED_CHARS = 4_000
"""How many of the last characters of a draft are searched, because an answer comes at the end."""

_BOX = re.compile(r"\\(?:boxed|fbox)\s{0,9}\{")
_STATED = re.compile(
    r"(?:^|\b)(?:the\s)?(?:final|correct)\sanswer(?:\sis)?[ \t*_:=]{1,9}(\S[^\n]{0,299})"
    r"|^[ \t*_#>-]{0,9}answer[ \t*_]{0,9}:[ \t*_]{0,9}(\S[^\n]{0,299})",
    re.IGNORECASE | re.MULTILINE,
)
_MAX_LEAD = len("the correct ")
"""How many characters before the word "answer" a match of `_STATED` can begin."""
_LETTER = re.compile(r"\((?<!\w\()([A-Z])\)(?!\w)")
_NUMBER = re.compile(r"(?<![\w.,])-?[$€£]?\d{1,30}(?:,\d{3}){0,9}(?:\.\d{1,30})?(?:\s?/\s?\d{1,30})?(?![\w])")
_NUMERIC = re.compile(r"([-+]?)[$€£]?\s?(\d{1,30})(\.\d{1,30})?(?:\s?/\s?(\d{1,30}))?\s?%?")
_CHOICE = re.compile(r"\(?([a-z])\)(?:[\s,].*)?|\(?([a-z])[.:]\s.*", re.DOTALL)
_FRACTION = re.compile(r"\\[dt]?frac\s?\{([^{}]{1,40})\}\s?\{([^{}]{1,40})\}")
_MARKUP = re.compile(r"\\(?:text|mathrm|mathbf|boxed)\b|\\[,;!()\[\] ]|[$*_`{}\"“”]|\\left|\\right")


@dataclass(frozen=True, slots=True)
class Tally:
    """The answer of each draft, in order; None for a draft without a short answer."""

    answers: tuple[str | None, ...]

    @property
    def is_open(self) -> bool:
        """Whether more than half of the drafts have no short answer, so that a count means little."""
        return 2 * self.answers.count(None) > len(self.answers)

    @property
    def votes(self) -> dict[str, int]:
        """How many drafts have each answer, the most frequent first; among equal ones, the earliest first."""
        return dict(Counter(answer for answer in self.answers if answer is not None).most_common())

    @property
    def first(self) -> int:
        """The index of the first draft with the most frequent answer; among tied answers, the earliest counts.

        At least one draft must have an answer.
        """
        return self.answers.index(next(iter(self.votes)))

    @property
    def tied(self) -> bool:
        """Whether another answer is as frequent."""
        most = list(self.votes.values())
        return len(most) > 1 and most[0] == most[1]


def tally_answers(texts: Sequence[str], pattern: Pattern | None = None) -> Tally:
    """Extract the answer of each draft."""
    return Tally(tuple(extract_answer(text, pattern) for text in texts))


def extract_answer(text: str, pattern: Pattern | None = None) -> str | None:
    """The short final answer of `text` in its normal form; None if it has none."""
    end = text[-_SEARCHED_CHARS:]
    found = (
        (pattern.find_answer(end) if pattern else None)
        or _boxed_answer(end)
        or _stated_answer(end)
        or _letter_answer(end)
    )
    found = found or _last_number(end) or _whole_answer(text)
    return normalize_answer(found) or None if found else None


def normalize_answer(answer: str) -> str:
    """The normal form of an answer: no markup, no final full stop, lower case, one way to write numbers.

    "1,000.0", "$1000" and "**1000**." are all "1000"; "(B) because" is "b".
    """
    plain = _FRACTION.sub(r"\1/\2", answer[:MAX_ANSWER_CHARS])
    plain = " ".join(_MARKUP.sub("", plain).split()).casefold().strip(" .,;:!")
    numeric = _NUMERIC.fullmatch(re.sub(r"(?<=\d),(?=\d{3}\b)", "", plain))
    if numeric:
        return _as_number(*numeric.groups()) or plain
    choice = _CHOICE.fullmatch(plain)
    return (choice[1] or choice[2]) if choice else plain


def _as_number(sign: str, whole: str, decimals: str | None, divisor: str | None) -> str | None:
    if divisor is not None and int(divisor) == 0:
        return None
    value = Fraction(f"{sign}{whole}{decimals or ''}") / int(divisor or 1)
    return next((_decimal(value, places) for places in range(31) if 10**places % value.denominator == 0), str(value))


def _decimal(value: Fraction, places: int) -> str:
    digits = str(abs(int(value * 10**places))).zfill(places + 1)
    point = len(digits) - places
    return f"{'-' if value < 0 else ''}{digits[:point]}{'.' if places else ''}{digits[point:]}"


def _boxed_answer(text: str) -> str | None:
    """The content of the last box, which may have braces itself; None if the box is not closed."""
    starts = [found.end() for found in _BOX.finditer(text)]
    depth = 1
    for place in range(starts[-1], len(text)) if starts else ():
        depth += {"{": 1, "}": -1}.get(text[place], 0)
        if depth == 0:
            return text[starts[-1] : place].strip() or None
    return None


def _stated_answer(text: str) -> str | None:
    # Searching for the word first is much faster. Only in ASCII does lower() keep the length of a text.
    word = text.lower().find("answer")
    found = _STATED.findall(text, max(0, word - _MAX_LEAD) if text.isascii() else 0) if word >= 0 else None
    return "".join(found[-1]).strip() if found else None


def _letter_answer(text: str) -> str | None:
    found = _LETTER.findall(text)
    return found[-1] if found else None


def _last_number(text: str) -> str | None:
    found = _NUMBER.findall(text)
    return found[-1] if found else None


def _whole_answer(text: str) -> str | None:
    stripped = text.strip()
    return stripped if len(stripped) <= MAX_WHOLE_CHARS and "\n" not in stripped else None
