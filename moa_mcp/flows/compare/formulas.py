"""Compare formulas that differ in their form: a call to a process of this machine, whose verdicts are journalled.

A resumed run reads them from its journal, also where math-verify, which the process needs, is not installed any more.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Sequence
from itertools import combinations
from typing import Any

from moa_mcp.domain.execution import Execution
from moa_mcp.domain.model import Batch, CodeCall, CodeResult, DryRunReplies, Message, Outcome
from moa_mcp.flows.compare.answers import Group, Tally, sort_groups
from moa_mcp.flows.compare.same import Form

COMPARER = "sandbox/math-verify"

MAX_PAIRS = 45
"""The most pairs that are compared: those of ten groups."""

SHARE = 0.99
"""The process ends a little before the judge that may be asked after it, as a share of that judge's end."""


def join_formulas(
    tally: Tally, groups: Sequence[Group], *, layer: int, until: float, place: str = ""
) -> Generator[Batch, Sequence[Outcome], tuple[Group, ...]]:
    """Join groups whose answers are the same formula. Without formulas that differ in form, no call is made."""
    forms = [tally.form_of(group) for group in groups]
    pairs = [(a, b) for a, b in combinations(range(len(forms)), 2) if may_be_same_formula(forms[a], forms[b])]
    pairs = pairs[:MAX_PAIRS]
    if not pairs:
        return tuple(groups)
    stated = [[forms[index].stated for index in pair] for pair in pairs]
    identity = f"{layer}.formulas{f'.{place}' if place else ''}"
    request = (Message("user", json.dumps({"pairs": stated})),)
    call = CodeCall(identity, "sandbox", layer, 1, COMPARER, request)
    replies = DryRunReplies(*(Execution("done", answer=json.dumps([same] * len(pairs))) for same in (True, False)))
    (outcome,) = yield Batch(layer, (call,), until=until * SHARE, dry_run_replies=replies)
    same = {pair for pair, verdict in zip(pairs, _verdicts(outcome), strict=False) if verdict is True}
    return _joined(groups, same)


def may_be_same_formula(a: Form, b: Form) -> bool:
    """Whether two answers are mathematics, and their forms do not tell for certain that they differ."""
    return a.is_formula and b.is_formula and not (a.is_closed and b.is_closed)


def _verdicts(outcome: Outcome) -> list[Any]:
    answer = outcome.execution.answer if isinstance(outcome, CodeResult) else None
    return json.loads(answer) if answer else []


def _joined(groups: Sequence[Group], same: set[tuple[int, int]]) -> tuple[Group, ...]:
    """Join a group to the first one of which it is the same as each part."""
    parts: list[list[int]] = []
    for index in range(len(groups)):
        fitting = (part for part in parts if all((other, index) in same for other in part))
        if (part := next(fitting, None)) is not None:
            part.append(index)
        else:
            parts.append([index])
    return sort_groups([tuple(draft for index in part for draft in groups[index]) for part in parts])
