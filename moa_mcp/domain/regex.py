"""Regular expressions from the user, searched in text from models, in time linear in the length of both.

`re` can take exponential time on some patterns and texts and cannot be interrupted; google-re2 does not backtrack.
Without google-re2 no pattern is accepted. The package's own patterns use `re` and are linear: tests/test_linear.py.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Protocol, cast

from moa_mcp.domain.text import fix_surrogates

MAX_TEXT = 2_000
"""The number of characters searched, from the end of a text, because the answer is at the end."""

_ESCAPED = r"\\(?P<code>u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8})|\\(?P<escaped>.)"
_TOKEN = re.compile(rf"{_ESCAPED}|(?P<flags>\(\?[a-zA-Z]+\))|\[\^?\]?|(?P<upto>\{{,(?=\d+\}}))|.", re.DOTALL)
_IN_SET = re.compile(rf"{_ESCAPED}|.", re.DOTALL)
# The classes as `re` defines them for str; in re2 they cover only ASCII.
_CLASSES = {"w": r"\p{L}\p{N}_", "d": r"\p{Nd}", "s": r"\s\v\x1c-\x1f\x85\p{Z}"}


class _Match(Protocol):
    def __getitem__(self, group: int, /) -> str | None: ...


class _Regexp(Protocol):
    groups: int

    def search(self, text: str, /) -> _Match | None: ...


@dataclass(frozen=True, slots=True)
class Pattern:
    """A pattern that runs in linear time; make one with `compile_linear`."""

    regexp: _Regexp

    def find_answer(self, text: str) -> str | None:
        """Return the first group in the last line that has a non-empty one, within the last `MAX_TEXT` characters.

        Each line is searched for its leftmost match, as with `re.search`. A pattern without groups gives the whole
        match.
        """
        group = min(self.regexp.groups, 1)
        for line in reversed(fix_surrogates(text[-MAX_TEXT:]).splitlines()):
            found = self.regexp.search(line)
            if found is not None and (caught := (found[group] or "").strip()):
                return caught
        return None


def compile_linear(pattern: str) -> Pattern:
    r"""Compile a pattern. It means the same as in `re`, but `\b`, and `\W` and `\S` in a set, cover only ASCII.

    Raises:
        ValueError: the pattern is invalid, has parts that need backtracking, or is too large; or google-re2 is not
            installed. The message names the reason.
    """
    try:
        re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        raise ValueError(f"the pattern is no regular expression: {error}") from None
    re2 = _load_re2()
    options = re2.Options()
    options.log_errors = False  # otherwise re2 writes them to stderr
    try:
        return Pattern(cast("_Regexp", re2.compile(_as_re2(pattern), options)))
    except re2.error as error:
        raise ValueError(_explain_refusal(error.args[0].decode())) from None


def _load_re2() -> Any:
    """google-re2, which is loaded for the first pattern. Raises ValueError if it is not installed."""
    try:
        import re2  # type: ignore[import-untyped]  # pyright: ignore[reportMissingTypeStubs]
    except ImportError:
        raise ValueError(
            "patterns need the package google-re2, which is not installed and has no wheel for every platform: "
            "install it with `pip install google-re2`, or leave the pattern out"
        ) from None
    return re2


def _explain_refusal(why: str) -> str:
    if why.startswith(("invalid repetition size", "pattern too large")):
        return f"the pattern is too large: {why}"
    return (
        f"the pattern has a part that is not supported ({why}): use characters, sets, groups, alternatives, repeats "
        "and ^ $ \\b, without references, look-arounds, possessive repeats and comments"
    )


def _as_re2(pattern: str) -> str:
    """Translate `pattern`, which is valid for `re`, into the syntax of re2."""
    parts: list[str] = []
    in_set, place = False, 0
    while token := (_IN_SET if in_set else _TOKEN).match(pattern, place):
        parts.append(_translate_token(token, in_set=in_set))
        in_set, place = token[0] != "]" if in_set else token[0].startswith("["), token.end()
    return "".join(parts)


def _translate_token(token: re.Match[str], *, in_set: bool) -> str:
    if code := token["code"]:
        return rf"\x{{{code[1:]}}}"
    if letter := token["escaped"]:
        return _translate_escape(letter, in_set=in_set)
    if in_set:
        return r"\[" if token[0] == "[" else token[0]
    if token["flags"]:
        flags = token["flags"].replace("u", "")  # re2 does not know u, the default in `re`
        return "" if flags == "(?)" else flags
    return "{0," if token["upto"] else token[0]


def _translate_escape(letter: str, *, in_set: bool) -> str:
    if in_set:
        return {"b": r"\x08", "D": r"\P{Nd}"}.get(letter) or _CLASSES.get(letter) or f"\\{letter}"
    if letter in _CLASSES:
        return f"[{_CLASSES[letter]}]"
    if letter.lower() in _CLASSES:
        return f"[^{_CLASSES[letter.lower()]}]"
    return r"\z" if letter == "Z" else f"\\{letter}"
