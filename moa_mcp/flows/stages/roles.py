"""A persona per slot, written once per task (SMoA, Li et al. 2024, arXiv 2411.03284).

The task is a kind of question, which the preset names; so the roles of one run serve the next one as well.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from moa_mcp.domain.model import Likely, Task
from moa_mcp.domain.preset import Preset
from moa_mcp.domain.stages import Roles
from moa_mcp.domain.text import one_line
from moa_mcp.flows.state import Stage, State
from moa_mcp.flows.structured_reply import ask, is_list, is_object, json_object, judge_call
from moa_mcp.prompts.judge import casting

CASTING_SHARE = 0.2
"""How much of a run's time writing roles may take."""

LONGEST_ROLE = 1_000

_LISTED = re.compile(r"^[^\w\n]*(?:role\s?)?\d{1,2}[^\w\n]+(\S.*)$", re.IGNORECASE | re.MULTILINE)


def roles(task: Task, preset: Preset, state: State) -> Stage:
    """Give each seat its role, as known from an earlier run or else written now; failing that, none."""
    spec = preset.roles
    if spec is None or preset.layers == 1 or state.ended is not None:
        return state
    count = len(state.seats) + len(state.waiting)
    key = roles_key(spec, count)
    known = _read(task.known.get(key, ""), count)
    if known:
        return _cast(state, known, "known from an earlier run")
    likely = json.dumps({"roles": [f"You are member {number}." for number in range(1, count + 1)]})
    call = judge_call(preset, spec.model, casting(spec.task, count), "roles", layer=1, likely=Likely(likely, likely))
    asked = yield from ask(
        call, lambda text: _read(text, count), lambda text: _read_loosely(text, count), until=CASTING_SHARE
    )
    if asked.value is None:
        without = state.noting(f"the panel works without roles: {asked.how}")
        return without.telling(roles={"how": asked.how})
    learned = {**state.learned, key: json.dumps({"roles": asked.value}, ensure_ascii=False)}
    return _cast(replace(state, learned=learned), asked.value, asked.how)


def roles_key(spec: Roles, count: int) -> str:
    """What roles for `count` slots are remembered by; the same for every question of the task."""
    text = json.dumps([spec.task, count])
    return f"roles/{hashlib.blake2b(text.encode(), digest_size=16).hexdigest()}"


def _cast(state: State, cast: Sequence[str], how: str) -> State:
    pairs = list(zip((*state.seats, *state.waiting), cast, strict=True))
    told = tuple(seat.told(role) for seat, role in pairs)
    by_slot = {str(seat.number): one_line(role) for seat, role in pairs}
    count = len(state.seats)
    return replace(state, seats=told[:count], waiting=told[count:]).telling(roles={"how": how, "by_slot": by_slot})


def _read(text: str, count: int) -> list[str] | None:
    reply = json_object(text, "roles")
    said = reply["roles"] if reply else None
    return _distinct([_words(role) for role in said], count) if is_list(said) else None


def _read_loosely(text: str, count: int) -> list[str] | None:
    """A numbered list, a role a line."""
    return _distinct(_LISTED.findall(text), count)


def _distinct(said: Sequence[str], count: int) -> list[str] | None:
    """`count` roles, no two alike; None if there are fewer."""
    told = dict.fromkeys(one_line(role, LONGEST_ROLE) for role in said)
    found = [role for role in told if role][:count]
    return found if len(found) == count else None


def _words(role: Any) -> str:
    """A role as text; models like to take one apart into occupation, temper and group."""
    return "; ".join(str(part) for part in role.values()) if is_object(role) else str(role)
