"""Group drafts by what they say: by the forms of their answers, and, where these do not decide, by a judge.

Formulas of different forms are compared first, by a process of this machine (`formulas.py`).

The judge is asked once, sees one text of each group under a letter, in an order that the run's seed shuffles, and is
asked once more if its reply is no partition of the letters. It can join groups, never part them, and cannot join
answers that differ for certain, such as two numbers. If its reply cannot be used, the forms decide, and the result is
marked as degraded.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from moa_mcp.domain.fields import ModelSettings
from moa_mcp.domain.model import Batch, DryRunReplies, Outcome, Task
from moa_mcp.domain.preset import Preset
from moa_mcp.domain.shortfalls import NONE, Shortfall, Shortfalls
from moa_mcp.flows.candidates import LabelledCandidates, label_candidates
from moa_mcp.flows.compare.answers import Group, Tally, sort_groups
from moa_mcp.flows.compare.formulas import join_formulas
from moa_mcp.flows.structured_reply import Form, ask_form, is_list, json_object, judge_call
from moa_mcp.prompts.judge import group as group_prompt

MAX_GROUPS = 26
"""The most groups that a judge is shown; of more, none is likely to have a majority."""

MAX_SHOWN_CHARS = 4_000
"""How many of the last characters of a draft a judge is shown: the end says what it comes to."""

_ROLE = "comparer"


@dataclass(frozen=True, slots=True)
class Grouping:
    """The groups of drafts that say the same, the largest first; `facts` and `notes` say how they were found."""

    groups: tuple[Group, ...]
    facts: Mapping[str, Any] = field(default_factory=dict[str, Any])
    notes: tuple[str, ...] = ()
    shortfalls: Shortfalls = NONE


@dataclass(frozen=True, slots=True)
class Judge:
    """Who groups, and where in the run: see `judge_call`. `model` is None for the preset's aggregator."""

    model: ModelSettings | None
    layer: int
    until: float
    place: str = ""


Grouped = Generator[Batch, Sequence[Outcome], Grouping]


def group_answers(task: Task, preset: Preset, tally: Tally, judge: Judge, *, enough: int | None = None) -> Grouped:
    """Group the drafts that state an answer by these answers.

    The judge is not asked if one group has `enough` drafts, or if no judge could make one that large (None: if it could
    join no groups).
    """
    groups = tally.groups
    if _can_decide(tally, groups, enough):
        groups = yield from join_formulas(tally, groups, layer=judge.layer, until=judge.until, place=judge.place)
    shown = [tally.form_of(group).stated for group in groups]
    return (yield from _group(task, preset, tally, groups, shown, judge, enough))


def group_drafts(
    task: Task, preset: Preset, texts: Sequence[str], tally: Tally, judge: Judge, *, enough: int | None = None
) -> Grouped:
    """Group all drafts: by their answers if each states one, else by what the whole texts say. See `group_answers`."""
    if None not in tally.forms:
        return (yield from group_answers(task, preset, tally, judge, enough=enough))
    groups = _with_equal_texts(texts, tally)
    shown = [texts[group[0]][-MAX_SHOWN_CHARS:] for group in groups]
    return (yield from _group(task, preset, tally, groups, shown, judge, enough))


def _group(
    task: Task,
    preset: Preset,
    tally: Tally,
    groups: tuple[Group, ...],
    shown: Sequence[str],
    judge: Judge,
    enough: int | None,
) -> Grouped:
    if not _can_decide(tally, groups, enough):
        return Grouping(groups)
    candidates = label_candidates(task, f"{_ROLE}/{judge.place}", shown)
    prompt = group_prompt(task, candidates.render(), len(groups))
    call = judge_call(preset, judge.model, prompt, _ROLE, layer=judge.layer, place=judge.place)
    reply = yield from ask_form(call, _form(candidates, tally, groups), until=judge.until)
    facts = {"grouped": reply.outcome}
    if reply.value is None:
        note = f"the judge did not say which of the answers are the same ({reply.outcome}): their forms decide"
        return Grouping(groups, facts, (note,), frozenset({Shortfall.UNREAD_JUDGE}))
    joined = [tuple(index for place in part for index in groups[place]) for part in reply.value]
    return Grouping(sort_groups(joined), facts)


def _with_equal_texts(texts: Sequence[str], tally: Tally) -> tuple[Group, ...]:
    """The groups of the tally, and the drafts without an answer, grouped by their words."""
    others: dict[str, list[int]] = {}
    for index, form in enumerate(tally.forms):
        if form is None:
            others.setdefault(" ".join(texts[index].casefold().split()), []).append(index)
    return sort_groups([*tally.groups, *map(tuple, others.values())])


def _can_decide(tally: Tally, groups: Sequence[Group], enough: int | None) -> bool:
    """Whether a judge could join groups, and so make one of `enough` drafts, which the forms did not make."""
    closed = [len(group) for group in groups if _is_closed(tally, group)]
    if not 1 < len(groups) <= MAX_GROUPS or len(closed) == len(groups):
        return False
    largest = sum(map(len, groups)) - sum(closed) + max(closed, default=0)
    return enough is None or len(groups[0]) < enough <= largest


def _is_closed(tally: Tally, group: Group) -> bool:
    """Whether the answer of a group differs for certain from those of other such groups."""
    form = tally.forms[group[0]]
    return form is not None and form.is_closed


def _form(candidates: LabelledCandidates, tally: Tally, groups: Sequence[Group]) -> Form[list[list[int]]]:
    letters = list(candidates.letters)
    return Form(
        lambda text: _read(candidates, tally, groups, text),
        dry_run=DryRunReplies(
            json.dumps({"groups": [letters]}), json.dumps({"groups": [[letter] for letter in letters]})
        ),
    )


def _read(candidates: LabelledCandidates, tally: Tally, groups: Sequence[Group], text: str) -> list[list[int]] | None:
    """The groups of a reply, if each candidate is in one of them and none joins answers that differ for certain."""
    reply = json_object(text, "groups")
    if reply is None or not is_list(reply["groups"]):
        return None
    parts = [candidates.indices(part) for part in reply["groups"]]
    named = [place for part in parts if part for place in part]
    if None in parts or sorted(named) != list(range(len(groups))):
        return None
    found = [part for part in parts if part]
    differ = any(sum(_is_closed(tally, groups[place]) for place in part) > 1 for part in found)
    return None if differ else found
