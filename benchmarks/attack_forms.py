"""Hostile drafts: texts of 200 KB, each in a form that a careless pattern takes more than linear time for.

The letters in them are drawn at random, since a draft that says the same again and again is cut off while it comes
in. Each form is a model of that name; every other model answers in one sentence.
"""

from __future__ import annotations

import json
import random
import string
from collections.abc import Callable, Mapping
from pathlib import Path

from tests.upstream import Reply, Request

SIZE = 200_000
"""Characters of a draft."""

PIECES = 200
"""Deltas in which it comes."""

SEED = 20_261_202


def _woven(pattern: str) -> Callable[[random.Random], str]:
    """`pattern` again and again, each `?` in it another letter each time."""

    def text(dice: random.Random) -> str:
        letters = iter(dice.choices(string.ascii_lowercase, k=SIZE))
        unit = [next(letters) if mark == "?" else mark for _ in range(SIZE // len(pattern) + 1) for mark in pattern]
        return "".join(unit)[:SIZE]

    return text


def _nested(opening: str, closing: str) -> Callable[[random.Random], str]:
    """`opening` for half of the text, and then `closing` as often."""
    times = SIZE // (len(opening) + len(closing))
    return lambda _: opening * times + closing * times


def _fences(dice: random.Random) -> str:
    """Blocks that open and never close, and code spans whose runs of backticks find no equal."""
    lines: list[str] = []
    while sum(map(len, lines)) < SIZE // 100:
        lines.append(f"{'`' * dice.randint(1, 9)}{dice.choice(string.ascii_letters)} {'~' * dice.randint(1, 5)}x ")
    opened = "".join(lines)
    return ("```x\n" + (opened + "\n") * 100)[:SIZE]


def _prose(dice: random.Random) -> str:
    words = ["".join(dice.choices(string.ascii_lowercase, k=dice.randint(2, 9))) for _ in range(2_000)]
    return " ".join(dice.choices(words, k=SIZE // 6))[:SIZE]


FORMS: Mapping[str, Callable[[random.Random], str]] = {
    "prose": _prose,
    "tags": _woven("<a <??<"),
    "tag-starts": lambda _: "<x" * (SIZE // 2) + "://",
    "link-brackets": lambda _: "[\\" * (SIZE // 2) + "](",
    "nested-brackets": _nested("[", "](x)"),
    "pictures": _woven("![?](? "),
    "backticks": _fences,
    "emphasis": _woven("**_?_*__"),
    "entities": _woven("&?&#x&amp;&#1"),
    "autolinks": _woven("www.?.?@a://"),
    "almost-addresses": lambda dice: _woven("a.?-?+1")(dice) + "://",
    "definitions": _woven("\n[?]: ?"),
    "open-definitions": _woven("\n> [?\\]]: <? '"),
    "comments": _woven("<!--?-<![CDATA[<?"),
    "invisible": _woven("?\u200b\u200d\ufe0f\u202e\u034f"),
    "escapes": _woven("\x1b[?;\x1b]?"),
    "thinking": _woven("?<think>?</think>?<thinking> "),
    "one-number": lambda _: "1" * SIZE,
    "numbers": _woven("1,000.0/?"),
    "boxes": _woven("\\boxed{?{"),
    "answers": _woven("the final answer is : *?"),
    "quotes": _woven("> > ?\n> | - * "),
}
"""The texts by name. `prose` is no attack: it shows what any draft of that size costs."""

VOTED = ("one-number", "numbers", "boxes", "answers")
"""The forms that are put to the vote, where short answers are looked for in the drafts; the others are aggregated."""


def draft(form: str) -> str:
    """The text of a form."""
    return FORMS[form](random.Random(f"{SEED} {form}"))


_REPLIES: dict[str, Reply] = {}


def answer(request: Request) -> Reply:
    """How a model answers: the script of the upstream."""
    if request.model not in FORMS:
        return Reply()
    if request.model not in _REPLIES:
        _REPLIES[request.model] = Reply(draft(request.model), pieces=PIECES)
    return _REPLIES[request.model]


def write_home(home: Path, base_url: str, *forms: str) -> None:
    """All models at `base_url`, a preset for each of the forms, and `plain` for an ask in peace."""
    config = {
        "default_preset": "plain",
        "providers": {"lab": {"base_url": base_url, "max_concurrency": 1000}},
        "limits": {"max_concurrent_runs": 1000},
    }
    (home / "config.yaml").write_text(json.dumps(config), encoding="utf-8")
    (home / "presets").mkdir()
    for name in ("plain", *forms):
        preset = {"proposers": [{"model": f"lab/{name}", "samples": 2}], "layers": 2, "aggregator": "lab/chief"}
        how = {"conclude": {"by": "vote"}} if name in VOTED else {}
        (home / "presets" / f"{name}.yaml").write_text(json.dumps({**preset, **how}), encoding="utf-8")
