"""What is odd about the drafts of a layer: the reader is told, and judges. Nothing is dropped for it.

Patterns are conservative: a remark that is often wrong is soon read by nobody.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import combinations
from typing import TypeVar

from moa_mcp.domain.endpoints import split_model
from moa_mcp.domain.model import Call, ChatCall, Draft, Outcome, Task
from moa_mcp.domain.text import strip_invisible
from moa_mcp.prompts.panel import user_turn

MIN_COMPARED_CHARS = 200
"""Characters from which on two drafts that are alike are worth a word: everybody writes "42" the same."""

NEAR_DUPLICATE_SHARE = 0.95
"""Share of the words of two drafts that both use, from which on they are nearly the same."""

MAX_CACHED_CHARS = 4096
"""Characters of a text up to which what was found in it is remembered."""

_ORDERS = re.compile(
    r"\b(?:ignore|disregard|forget|override)\b(?: \w+){0,3} "
    r"\b(?:instructions?|prompts?|drafts?|answers?|responses?|references?|messages?|candidates?)\b"
    r"|\b(?:to|as|dear|attention|note to) (?:the )?aggregator\b"
    r"|\b(?:output|respond with|reply with|return) (?:only|exactly|nothing but) (?:this|the following|my)\b"
    r"|\bnew (?:system )?instructions?:"
    r"|<\|im_(?:start|end)\|>|\[/?inst\]|<</?sys>>"
    r"|[<\u2039\xab\uff1c]{2} ?(?:end of )?draft \d"
)
"""How a text (in small letters) speaks that wants to steer its reader instead of answering the question."""

_HINTS = ("ignore", "disregard", "forget", "override", "aggregator", "only", "exactly", "nothing but", "instruction")
_MARKS = ("<|im_", "inst]", "<<", "\u2039", "\xab", "\uff1c")
_SIGNS = (*_HINTS, *_MARKS)
"""One of these stands in every text that speaks so, and looking for them is much quicker."""

_Pair = tuple[Call, Draft]
Found = TypeVar("Found")


def draft_warnings(task: Task, calls: Sequence[Call], outcomes: Sequence[Outcome]) -> list[str]:
    """Remarks on the drafts of one layer."""
    answered = zip(calls, outcomes, strict=True)
    pairs = [(call, replace(one, text=strip_invisible(one.text))) for call, one in answered if isinstance(one, Draft)]
    return [*_instructions_to_reader(task, pairs), *_near_duplicates(pairs), *_same_served_model(pairs)]


def _instructions_to_reader(task: Task, pairs: Sequence[_Pair]) -> Iterator[str]:
    """Drafts that try to instruct their reader, in words that are not the question's own."""
    for call, draft in pairs:
        order = _instruction(draft.text)
        if order and order not in user_turn(task).lower():
            yield f"{_name(call)} tries to instruct its reader; it was passed on as data"


def _cache_short(find: Callable[[str], Found]) -> Callable[[str], Found]:
    """`find`, with what it found in short texts remembered.

    Every ask is planned by a dry run with the same made-up drafts before it is run: that is half of what is looked
    through.
    """
    kept = lru_cache(maxsize=128)(find)
    return lambda text: kept(text) if len(text) <= MAX_CACHED_CHARS else find(text)


@_cache_short
def _instruction(text: str) -> str:
    """The first words of `text` that want to steer its reader, in small letters; none of them: nothing."""
    text = text.lower()
    found = _ORDERS.search(text) if any(sign in text for sign in _SIGNS) else None
    return found[0] if found else ""


def _near_duplicates(pairs: Sequence[_Pair]) -> Iterator[str]:
    """Drafts that say the same in nearly the same words: together they count for little more than one."""
    long = [(call, _words(draft.text)) for call, draft in pairs if len(draft.text) >= MIN_COMPARED_CHARS]
    twins = [
        f"{one.layer}.{one.slot} and {other.layer}.{other.slot}"
        for (one, words), (other, others) in combinations(long, 2)
        if words.is_near_duplicate(others)
    ]
    if twins:
        named = ", ".join(twins[:_MAX_NAMED])
        more = f", and {len(twins) - _MAX_NAMED} pairs more" if len(twins) > _MAX_NAMED else ""
        yield f"drafts are nearly the same, so that they confirm one another little: {named}{more}"


_MAX_NAMED = 3


@dataclass(frozen=True, slots=True)
class _Words:
    """The words of a text, made once to be compared with those of many others."""

    length: int
    words: frozenset[str]

    def is_near_duplicate(self, other: _Words) -> bool:
        if min(self.length, other.length) < NEAR_DUPLICATE_SHARE * max(self.length, other.length):
            return False
        common = len(self.words & other.words)
        return common >= NEAR_DUPLICATE_SHARE * (len(self.words) + len(other.words) - common)


@_cache_short
def _words(text: str) -> _Words:
    return _Words(len(text), frozenset(text.split()))


def _same_served_model(pairs: Sequence[_Pair]) -> Iterator[str]:
    """Slots that asked for different models and were answered by one."""
    asked: defaultdict[str, dict[str, Call]] = defaultdict(dict)
    for call, draft in pairs:
        if draft.served_model is not None and isinstance(call, ChatCall):
            asked[draft.served_model].setdefault(split_model(call.model)[1], call)
    for served, calls in asked.items():
        if len(calls) > 1:
            models = ", ".join(f"{call.layer}.{call.slot} {call.model}" for call in calls.values())
            yield f"one model ({served}) answered for different ones that were asked: {models}"


def _name(call: Call) -> str:
    return f"{call.role} {call.layer}.{call.slot} ({call.model})"
