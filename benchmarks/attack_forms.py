"""Hostile drafts: texts of 200 KB, each in a form for which a careless regular expression needs more than linear time.

Their letters are random, because a draft that repeats itself is cut off while it arrives. The model with the name of
a form answers with that form; every other model answers with one sentence.
"""

from __future__ import annotations

import json
import random
import string
from collections.abc import Callable, Mapping
from pathlib import Path

from tests.upstream import Reply, Request

SIZE = 200_000
"""The number of characters of a draft."""

PIECES = 200
"""The number of deltas in which a draft is streamed."""

SEED = 20_261_202


def _repeat(pattern: str) -> Callable[[random.Random], str]:
    """Repeat `pattern`, with a random letter in place of each `?`."""

    def text(dice: random.Random) -> str:
        letters = iter(dice.choices(string.ascii_lowercase, k=SIZE))
        unit = [next(letters) if mark == "?" else mark for _ in range(SIZE // len(pattern) + 1) for mark in pattern]
        return "".join(unit)[:SIZE]

    return text


def _nest(opening: str, closing: str) -> Callable[[random.Random], str]:
    """Repeat `opening` for half of the text, and then `closing` equally often."""
    times = SIZE // (len(opening) + len(closing))
    return lambda _: opening * times + closing * times


def _fences(dice: random.Random) -> str:
    """Code blocks that never close, and code spans whose backticks have no matching end."""
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
    "tags": _repeat("<a <??<"),
    "tag-starts": lambda _: "<x" * (SIZE // 2) + "://",
    "link-brackets": lambda _: "[\\" * (SIZE // 2) + "](",
    "nested-brackets": _nest("[", "](x)"),
    "pictures": _repeat("![?](? "),
    "backticks": _fences,
    "emphasis": _repeat("**_?_*__"),
    "entities": _repeat("&?&#x&amp;&#1"),
    "autolinks": _repeat("www.?.?@a://"),
    "almost-addresses": lambda dice: _repeat("a.?-?+1")(dice) + "://",
    "definitions": _repeat("\n[?]: ?"),
    "open-definitions": _repeat("\n> [?\\]]: <? '"),
    "comments": _repeat("<!--?-<![CDATA[<?"),
    "invisible": _repeat("?\u200b\u200d\ufe0f\u202e\u034f"),
    "escapes": _repeat("\x1b[?;\x1b]?"),
    "thinking": _repeat("?<think>?</think>?<thinking> "),
    "one-number": lambda _: "1" * SIZE,
    "numbers": _repeat("1,000.0/?"),
    "boxes": _repeat("\\boxed{?{"),
    "answers": _repeat("the final answer is : *?"),
    "quotes": _repeat("> > ?\n> | - * "),
}
"""The texts by name. `prose` is not an attack: it shows the cost of any draft of that size."""

VOTED = ("one-number", "numbers", "boxes", "answers")
"""The forms whose preset votes, because a vote searches the drafts for short answers. The others are aggregated."""


def draft(form: str) -> str:
    """The text of a form."""
    return FORMS[form](random.Random(f"{SEED} {form}"))


_REPLIES: dict[str, Reply] = {}


def answer(request: Request) -> Reply:
    """The reply of a model; the upstream calls this for each request."""
    if request.model not in FORMS:
        return Reply()
    if request.model not in _REPLIES:
        _REPLIES[request.model] = Reply(draft(request.model), pieces=PIECES)
    return _REPLIES[request.model]


def write_home(home: Path, base_url: str, *forms: str) -> None:
    """Configure all models at `base_url`, a preset for each form, and the preset `plain` for ordinary asks."""
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
