"""Regular expressions that a person wrote, searched in texts that a model wrote, without backtracking.

`re` may take ages on an unlucky pair of the two, and nothing can stop it. Here every character is looked at
once by all ways to go on at the same time, so a search takes at most (length of the text) × (size of the
pattern) steps. What only backtracking can do is refused: references to groups and looking around.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

LONGEST_TEXT = 2_000
"""Characters, the last of a text, that are searched: an answer stands at the end."""

MOST_STEPS = 200
"""How large a pattern may be once its counted repeats are written out."""

_ATOM = re.compile(
    r"\\[dDwWsS]"  # a class
    r"|\\[nrtfv]|\\x[0-9a-fA-F]{2}|\\u[0-9a-fA-F]{4}"  # a character by its name
    r"|\\[^\w\s]"  # a character that would mean something
    r"|\[\^?\]?(?:\\.|[^\]\\])*\]"  # a set
    r"|[^\\()\[{|*+?^$]",  # a character, or any one
    re.DOTALL,
)
_COUNT = re.compile(r"\{(\d{1,4})(,?)(\d{0,4})\}")
_OPENING = re.compile(r"\((?:\?:|\?P<\w{1,32}>)?")
_FLAGS = re.compile(r"\(\?([imsu]{1,4})\)")
_PLACES = {"^", "$", r"\b", r"\B", r"\A", r"\Z"}


@dataclass(frozen=True, slots=True)
class _Eat:
    """Go on if the next character is one of these."""

    char: re.Pattern[str]


@dataclass(frozen=True, slots=True)
class _At:
    """Go on if this place is of a kind: a border of words, a line's start or end."""

    place: re.Pattern[str]


@dataclass(frozen=True, slots=True)
class _Mark:
    """Remember this place as the start or end of the first group."""

    which: Literal["start", "end"]


@dataclass(frozen=True, slots=True)
class _Fork:
    """Go on at either of two steps, counted from here; the first is preferred."""

    first: int
    second: int


_Step: TypeAlias = _Eat | _At | _Mark | _Fork
_Steps: TypeAlias = list[_Step]
_Way: TypeAlias = tuple[int, int, int]
"""A way through the pattern: the next step, and where the first group began and ended, -1 for not yet."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """A pattern that was found to be safe; make one with `safe`."""

    steps: tuple[_Step, ...]

    def answer(self, text: str) -> str | None:
        """What the first group caught in the last `LONGEST_TEXT` characters, at the last line where it caught any.

        The search is by lines and in each by the leftmost match, as with `re.search`. Without a group, what
        matched as a whole counts.
        """
        for line in reversed(text[-LONGEST_TEXT:].splitlines()):
            if (found := self._search(line)) is not None and found.strip():
                return found.strip()
        return None

    def _search(self, line: str) -> str | None:
        ways: list[_Way] = []
        found: _Way | None = None
        for place in range(len(line) + 1):
            fresh = [] if found else [(0, -1, -1)]
            ways = list(self._waiting([*ways, *fresh], line, place))
            for rank, (step, start, end) in enumerate(ways):
                if step == len(self.steps):
                    found, ways = (step, start, end), ways[:rank]
                    break
            ways = [(step + 1, start, end) for step, start, end in ways if self._eats(step, line, place)]
            if found and not ways:
                break
        return line[found[1] : found[2]] if found and found[2] >= 0 else None

    def _eats(self, step: int, line: str, place: int) -> bool:
        eater = self.steps[step]
        return isinstance(eater, _Eat) and place < len(line) and eater.char.match(line[place]) is not None

    def _waiting(self, ways: list[_Way], line: str, place: int) -> Iterator[_Way]:
        """Where `ways` come to wait for a character, or for the end, best first and each step once."""
        seen: set[int] = set()
        stack = ways[::-1]
        while stack:
            step, start, end = stack.pop()
            if step in seen:
                continue
            seen.add(step)
            match self.steps[step] if step < len(self.steps) else None:
                case _Fork(first, second):
                    stack += [(step + second, start, end), (step + first, start, end)]
                case _Mark("start"):
                    stack.append((step + 1, place, end))
                case _Mark("end"):
                    stack.append((step + 1, start, place))
                case _At(where):
                    stack += [(step + 1, start, end)] if where.match(line, place) else []
                case _:
                    yield step, start, end


def safe(pattern: str) -> Pattern:
    """Read a pattern.

    Raises:
        ValueError: it is none, has parts that need backtracking, or is too large; the text says which.
    """
    try:
        groups = re.compile(pattern).groups
        steps = _Reader(pattern).alternatives()
    except (re.error, RecursionError, OverflowError) as error:
        raise ValueError(f"the pattern is no regular expression: {error}") from None
    return Pattern(tuple(steps if groups else [_Mark("start"), *steps, _Mark("end")]))


@dataclass(slots=True)
class _Reader:
    """Reads a pattern from left to right, which `re` has found to be well-formed."""

    pattern: str
    place: int = 0
    marked: bool = False
    flags: int = 0

    def __post_init__(self) -> None:
        while found := _FLAGS.match(self.pattern, self.place):
            self.flags |= sum({"i": re.IGNORECASE, "m": 0, "s": re.DOTALL, "u": 0}[flag] for flag in set(found[1]))
            self.place = found.end()

    def alternatives(self) -> _Steps:
        """One alternative after the other: try the first, or else jump behind it."""
        options = [self._sequence()]
        while self._takes("|"):
            options.append(self._sequence())
        steps = options.pop()
        for option in reversed(options):
            jump = len(steps) + 1
            steps = self._fitting([_Fork(1, len(option) + 2), *option, _Fork(jump, jump), *steps])
        return steps

    def _refusal(self) -> ValueError:
        """What is said of the part that cannot be read."""
        part = self.pattern[self.place : self.place + 4]
        return ValueError(
            f"the pattern has {part!r}, which is not supported: use characters, sets, groups, alternatives, repeats "
            "and ^ $ \\b, without references, look-arounds or flags but a leading (?i)"
        )

    def _sequence(self) -> _Steps:
        steps: _Steps = []
        while self.place < len(self.pattern) and self.pattern[self.place] not in "|)":
            steps = self._fitting([*steps, *self._repeated(self._piece())])
        return steps

    def _piece(self) -> _Steps:
        if self.pattern.startswith(tuple(_PLACES), self.place):
            place = self.pattern[self.place] if self.pattern[self.place] in "^$" else self._ahead(2)
            self.place += len(place)
            return [_At(re.compile(place))]
        if self.pattern[self.place] == "(":
            return self._group()
        found = _ATOM.match(self.pattern, self.place)
        if found is None:
            raise self._refusal()
        self.place = found.end()
        return [_Eat(re.compile(found[0], self.flags))]

    def _group(self) -> _Steps:
        found = _OPENING.match(self.pattern, self.place)
        if found is None or self._ahead(len(found[0]) + 1).endswith("?"):
            raise self._refusal()
        first = found[0] != "(?:" and not self.marked
        self.marked = self.marked or first
        self.place = found.end()
        steps = self.alternatives()
        self.place += 1
        return [_Mark("start"), *steps, _Mark("end")] if first else steps

    def _repeated(self, piece: _Steps) -> _Steps:
        least, most = self._count()
        if (least, most) == (1, 1):
            return piece
        lazy = self._takes("?")
        if self._ahead(1) in {"+", "*"} and self._ahead(1):
            raise self._refusal()
        self._fitting(piece * max(least, most or 0))
        steps = piece * least
        if most is None:
            around = len(piece) + 2
            return [*steps, _fork(around, lazy), *piece, _Fork(-len(piece) - 1, -len(piece) - 1)]
        for left in range(most - least, 0, -1):
            steps = [*steps, _fork((len(piece) + 1) * left, lazy), *piece]
        return steps

    def _count(self) -> tuple[int, int | None]:
        simple: dict[str, tuple[int, int | None]] = {"*": (0, None), "+": (1, None), "?": (0, 1)}
        if (sign := self._ahead(1)) in simple:
            self.place += 1
            return simple[sign]
        found = _COUNT.match(self.pattern, self.place)
        if found is None:
            return 1, 1
        self.place = found.end()
        least = int(found[1])
        return least, int(found[3]) if found[3] else None if found[2] else least

    def _fitting(self, steps: _Steps) -> _Steps:
        if len(steps) > MOST_STEPS:
            raise ValueError(f"the pattern is too large: its repeats come to more than {MOST_STEPS} steps")
        return steps

    def _ahead(self, count: int) -> str:
        return self.pattern[self.place : self.place + count]

    def _takes(self, sign: str) -> bool:
        taken = self._ahead(1) == sign
        self.place += taken
        return taken


def _fork(around: int, lazy: bool) -> _Fork:
    return _Fork(around, 1) if lazy else _Fork(1, around)
