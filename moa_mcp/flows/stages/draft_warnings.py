"""Warnings about the drafts of a layer, as notes for the reader of the answer. No draft is dropped for them.

The patterns are conservative: readers soon ignore a warning that is often wrong.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from typing import TypeVar

from moa_mcp.domain.endpoints import split_model
from moa_mcp.domain.model import Call, ChatCall, Draft, Outcome, Task
from moa_mcp.domain.preset import Proposer
from moa_mcp.domain.text import strip_invisible
from moa_mcp.flows.calls import call_name
from moa_mcp.flows.state import Reference, State
from moa_mcp.prompts.panel import user_turn

MIN_COMPARED_CHARS = 200
"""Characters that a draft needs to be compared: short answers such as "42" are always the same."""

NEAR_DUPLICATE_SHARE = 0.95
"""The share of common words from which two drafts count as near duplicates."""

MAX_CACHED_CHARS = 4096
"""Results for texts up to this many characters are cached."""

_INSTRUCTIONS = re.compile(
    r"\b(?:ignore|disregard|forget|override)\b(?: \w+){0,3} "
    r"\b(?:instructions?|prompts?|drafts?|answers?|responses?|references?|messages?|candidates?)\b"
    r"|\b(?:to|as|dear|attention|note to) (?:the )?aggregator\b"
    r"|\b(?:output|respond with|reply with|return) (?:only|exactly|nothing but) (?:this|the following|my)\b"
    r"|\bnew (?:system )?instructions?:"
    r"|<\|im_(?:start|end)\|>|\[/?inst\]|<</?sys>>"
    r"|[<\u2039\xab\uff1c]{2} ?(?:end of )?draft \d"
    r"|[<\u2039\uff1c]/? ?response \d"
)
"""Matches text, in lower case, that instructs its reader instead of answering the question."""

_HINTS = ("ignore", "disregard", "forget", "override", "aggregator", "only", "exactly", "nothing but", "instruction")
_MARKS = ("<|im_", "inst]", "<<", "<response", "</response", "\u2039", "\xab", "\uff1c")
_SIGNS = (*_HINTS, *_MARKS)
"""Every text that matches contains one of these, and searching for them is much faster."""

_Read = tuple[Call, Draft, str]
"""A call, its draft, and the text of the draft as other models read it."""
Found = TypeVar("Found")


def draft_warnings(task: Task, calls: Sequence[Call], outcomes: Sequence[Outcome]) -> list[str]:
    """Warnings about the drafts of one layer."""
    answered = zip(calls, outcomes, strict=True)
    drafts = [(call, one, strip_invisible(one.text)) for call, one in answered if isinstance(one, Draft)]
    return [*_instructions_to_reader(task, drafts), *_near_duplicates(drafts), *_same_served_model(drafts)]


def _instructions_to_reader(task: Task, drafts: Sequence[_Read]) -> Iterator[str]:
    """Warn about drafts that instruct their reader, unless the question has the same words."""
    for call, _, text in drafts:
        instruction = _instruction(text)
        if instruction and instruction not in user_turn(task).lower():
            yield f"{call_name(call)} tries to instruct its reader; it was passed on as data"


def _cache_short(find: Callable[[str], Found]) -> Callable[[str], Found]:
    """`find` with a cache for short texts.

    A dry run with the same made-up drafts precedes every run: they are half of the texts that are searched.
    """
    cached = lru_cache(maxsize=128)(find)
    return lambda text: cached(text) if len(text) <= MAX_CACHED_CHARS else find(text)


@_cache_short
def _instruction(text: str) -> str:
    """The first words of `text` that instruct its reader, in lower case; empty if there are none."""
    text = text.lower()
    found = _INSTRUCTIONS.search(text) if any(sign in text for sign in _SIGNS) else None
    return found[0] if found else ""


def _near_duplicates(drafts: Sequence[_Read]) -> Iterator[str]:
    """Warn about drafts with nearly the same words: they are weak confirmation of each other."""
    long = [(call, _words(text)) for call, _, text in drafts if len(text) >= MIN_COMPARED_CHARS]
    near_duplicates = [
        f"{one.layer}.{one.slot} and {other.layer}.{other.slot}"
        for (one, words), (other, others) in combinations(long, 2)
        if words.is_near_duplicate(others)
    ]
    if near_duplicates:
        named = ", ".join(near_duplicates[:_MAX_NAMED])
        more = f", and {len(near_duplicates) - _MAX_NAMED} pairs more" if len(near_duplicates) > _MAX_NAMED else ""
        yield f"drafts are nearly the same, so that they confirm one another little: {named}{more}"


_MAX_NAMED = 3


@dataclass(frozen=True, slots=True)
class _Words:
    """The words of a text, split once for comparison with many others."""

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


def _same_served_model(drafts: Sequence[_Read]) -> Iterator[str]:
    """Warn about slots that asked for different models and were answered by the same one."""
    asked: defaultdict[str, dict[str, Call]] = defaultdict(dict)
    for call, draft, _ in drafts:
        if draft.served_model is not None and isinstance(call, ChatCall):
            asked[draft.served_model].setdefault(split_model(call.model)[1], call)
    for served, calls in asked.items():
        if len(calls) > 1:
            models = ", ".join(f"{call.layer}.{call.slot} {call.model}" for call in calls.values())
            yield f"one model ({served}) answered for different ones that were asked: {models}"


def count_distinct_samples(state: State) -> State:
    """Count the different texts among the samples of each model; if some are copies, add a note."""
    groups: defaultdict[Proposer, list[Reference]] = defaultdict(list)
    for reference in state.references:
        slot = reference.participant.slot
        if isinstance(slot, Proposer) and slot.samples > 1:
            groups[slot].append(reference)
    if not groups:
        return state
    counted = [(slot, len(group), len({one.text for one in group})) for slot, group in groups.items()]
    notes = [
        f"{drafts - unique} of {drafts} samples of {slot.model} in layer {state.layer} are copies of others: they "
        "add nothing. Is its temperature 0, or does its provider cache replies?"
        for slot, drafts, unique in counted
        if unique < drafts
    ]
    return state.with_notes(*notes).with_facts(unique_samples=sum(unique for _, _, unique in counted))
