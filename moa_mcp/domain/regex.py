"""Regular expressions that a person wrote, searched in texts that a model wrote, in time that is linear in both.

`re` may take ages on an unlucky pair of the two, and nothing can stop it; google-re2 does not backtrack. Where it is
not installed no pattern is accepted. Our own patterns are plain `re`, each of them linear: tests/test_linear.py.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Protocol, cast

from moa_mcp.domain.text import fix_surrogates

re2: Any
try:
    import re2 as _re2  # type: ignore[import-untyped]  # pyright: ignore[reportMissingTypeStubs]
except ImportError:  # no wheel for this platform: `safe` says so to whoever has a pattern in a preset
    re2 = None
else:
    re2 = _re2

MAX_TEXT = 2_000
"""Characters, the last of a text, that are searched: an answer stands at the end."""

_ESCAPED = r"\\(?P<code>u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8})|\\(?P<escaped>.)"
_TOKEN = re.compile(rf"{_ESCAPED}|(?P<flags>\(\?[a-zA-Z]+\))|\[\^?\]?|(?P<upto>\{{,(?=\d+\}}))|.", re.DOTALL)
_IN_SET = re.compile(rf"{_ESCAPED}|.", re.DOTALL)
# Classes as `re` understands them in a str; in re2 they know ASCII alone.
_CLASSES = {"w": r"\p{L}\p{N}_", "d": r"\p{Nd}", "s": r"\s\v\x1c-\x1f\x85\p{Z}"}


class _Match(Protocol):
    def __getitem__(self, group: int, /) -> str | None: ...


class _Regexp(Protocol):
    groups: int

    def search(self, text: str, /) -> _Match | None: ...


@dataclass(frozen=True, slots=True)
class Pattern:
    """A pattern that was found to be safe; make one with `safe`."""

    regexp: _Regexp

    def find_answer(self, text: str) -> str | None:
        """What the first group caught in the last `MAX_TEXT` characters, at the last line where it caught any.

        The search is by lines and in each by the leftmost match, as with `re.search`. Without a group, what
        matched as a whole counts.
        """
        group = min(self.regexp.groups, 1)
        for line in reversed(fix_surrogates(text[-MAX_TEXT:]).splitlines()):
            found = self.regexp.search(line)
            if found is not None and (caught := (found[group] or "").strip()):
                return caught
        return None


def compile_linear(pattern: str) -> Pattern:
    r"""Read a pattern. It means what `re` takes it for, but `\b`, and in a set `\W` and `\S`, know ASCII alone.

    Raises:
        ValueError: it is none, has parts that need backtracking, or is too large; or google-re2 is not installed.
            The text says which.
    """
    try:
        re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        raise ValueError(f"the pattern is no regular expression: {error}") from None
    if re2 is None:
        raise ValueError(
            "patterns need the package google-re2, which is not installed and has no wheel for every platform: "
            "install it with `pip install google-re2`, or leave the pattern out"
        )
    options = re2.Options()
    options.log_errors = False  # else they are written to stderr
    try:
        return Pattern(cast("_Regexp", re2.compile(_as_re2(pattern), options)))
    except re2.error as error:
        raise ValueError(_refusal(error.args[0].decode())) from None


def _refusal(why: str) -> str:
    if why.startswith(("invalid repetition size", "pattern too large")):
        return f"the pattern is too large: {why}"
    return (
        f"the pattern has a part that is not supported ({why}): use characters, sets, groups, alternatives, repeats "
        "and ^ $ \\b, without references, look-arounds, possessive repeats and comments"
    )


def _as_re2(pattern: str) -> str:
    """`pattern`, which `re` has found to be well-formed, as re2 writes the same."""
    parts: list[str] = []
    in_set, place = False, 0
    while token := (_IN_SET if in_set else _TOKEN).match(pattern, place):
        parts.append(_part(token, in_set=in_set))
        in_set, place = token[0] != "]" if in_set else token[0].startswith("["), token.end()
    return "".join(parts)


def _part(token: re.Match[str], *, in_set: bool) -> str:
    if code := token["code"]:
        return rf"\x{{{code[1:]}}}"
    if letter := token["escaped"]:
        return _escaped(letter, in_set=in_set)
    if in_set:
        return r"\[" if token[0] == "[" else token[0]
    if token["flags"]:
        flags = token["flags"].replace("u", "")  # which is the default
        return "" if flags == "(?)" else flags
    return "{0," if token["upto"] else token[0]


def _escaped(letter: str, *, in_set: bool) -> str:
    if in_set:
        return {"b": r"\x08", "D": r"\P{Nd}"}.get(letter) or _CLASSES.get(letter) or f"\\{letter}"
    if letter in _CLASSES:
        return f"[{_CLASSES[letter]}]"
    if letter.lower() in _CLASSES:
        return f"[^{_CLASSES[letter.lower()]}]"
    return r"\z" if letter == "Z" else f"\\{letter}"
