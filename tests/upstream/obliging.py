"""A script that gives every call of a panel what it asks for: judges their form, programmers a program.

It reads the form in the prompt, as a model would, so a whole panel can be run over the wire without a model.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from moa_mcp.prompts.solver import REVISED
from tests.upstream.reply import Reply
from tests.upstream.request import Request

PROGRAM = """\
```python
good = 0
for word in ["apple", "pear"]:
    if is_good(word):
        good += 1
answer = good
```"""
"""Its undefined function makes two emulations."""

_FORM = re.compile(r'\{"[a-z_]+": .*\}', re.DOTALL)
_LETTERED = re.compile(r"^<[a-z]+ ([A-Z]{1,2})[ :]", re.MULTILINE)
_CANDIDATE = re.compile(r"^<candidate ([A-Z]{1,2}) \w+>\n(.*)", re.MULTILINE)


def fill_forms(request: Request) -> Reply:
    """What the prompt asks for: a program, a reply in its form, or else a draft like no other."""
    asked = request.question
    if "short Python program" in asked:
        return Reply(PROGRAM)
    if "Residuals Detected" in asked:
        return Reply(f"Residuals Detected: Yes\nModel 1: {_words(request.number)}")
    if REVISED in asked:
        return Reply(f"It is short.\n{REVISED}\n{_words(request.number)}.")
    form = _last_line(asked)
    for key, reply in _REPLIES.items():
        if f'{{"{key}"' in form or f', "{key}"' in form:
            return Reply(json.dumps({**_PARTS, key: reply(request.prompt), "reason": "So it is."}))
    return Reply(f"Draft {request.number} of {request.model}: {_words(request.number)}.")


def _last_line(asked: str) -> str:
    last = asked.rstrip().rpartition("\n")[2]
    found = _FORM.search(last)
    return found[0] if found else ""


def _letters(asked: str) -> list[str]:
    return list(dict.fromkeys(_LETTERED.findall(asked)))


def _number(asked: str, pattern: str) -> int:
    found = re.findall(pattern, asked)
    return int(found[-1]) if found else 1


def _roles(asked: str) -> list[str]:
    return [f"You are expert number {place}." for place in range(_number(asked, r"exactly (\d+) roles"))]


def _choice(asked: str) -> str:
    """The same candidate in whatever order they are shown."""
    letters: dict[str, str] = {text: letter for letter, text in _CANDIDATE.findall(asked)}
    return letters[min(letters)]


def _slots(asked: str) -> dict[str, Any]:
    return {letter: {"score": 5 + place % 5, "instruction": ""} for place, letter in enumerate(_letters(asked))}


def _words(number: int) -> str:
    return " ".join(f"word{number * 31 + place}" for place in range(12))


_PARTS: Mapping[str, Any] = {
    part: [] for part in ("agreement", "contradictions", "partial_coverage", "unique_points", "blind_spots")
}
"""An analysis with nothing in it, which is beside the point of all other forms."""

_REPLIES: Mapping[str, Callable[[str], Any]] = {
    "slots": _slots,
    "keep": lambda asked: _letters(asked)[: _number(asked, r"(\d+) letters? in keep")],
    "groups": lambda asked: [_letters(asked)],
    "ranking": _letters,
    "choice": _choice,
    "better": lambda asked: _letters(asked)[0],
    "score": lambda _: 7,
    "difficulty": lambda _: 5,
    "roles": _roles,
    "agreement": lambda _: ["They agree."],
    "value": lambda _: True,
    "set": lambda _: {},
}
"""What stands under each key that a form may ask for; the outer key of a form comes before those inside it."""
