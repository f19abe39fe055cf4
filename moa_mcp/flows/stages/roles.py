"""A persona per slot, written once per task (SMoA, Li et al. 2024, arXiv 2411.03284).

The task is a kind of question that the preset names, so that later runs can reuse the roles of one run.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from pydantic import Field

from moa_mcp.domain.fields import ModelSettingsOrId, PromptText
from moa_mcp.domain.model import DryRunReplies, Task
from moa_mcp.domain.preset import Preset
from moa_mcp.domain.shortfalls import Shortfall
from moa_mcp.domain.stages import ROLES, RolesSpec
from moa_mcp.domain.text import one_line
from moa_mcp.flows import schedule
from moa_mcp.flows.state import Stage, State
from moa_mcp.flows.structured_reply import Form, ask_form, is_list, is_object, json_object, judge_call
from moa_mcp.prompts.judge import role_writer

MAX_ROLE_CHARS = 1_000

_LISTED = re.compile(r"^[^\w\n]*(?:role\s?)?\d{1,2}[^\w\n]+(\S.*)$", re.IGNORECASE | re.MULTILINE)


class Roles(RolesSpec):
    """A persona per slot, written once for `task` by a model and kept for later runs (SMoA)."""

    task: PromptText = Field(description="The kind of work that the personas are written for, in a sentence.")
    model: ModelSettingsOrId | None = Field(
        default=None, description="The model that writes the personas. Unset: the aggregator's model."
    )


@ROLES.register(Roles)
def roles(task: Task, preset: Preset, state: State, spec: Roles) -> Stage:
    """Give each participant its role, from an earlier run or else from a model; if that fails, no roles are used."""
    if preset.layers == 1:
        return state
    count = len(state.participants) + len(state.reserve)
    key = roles_key(spec, count)
    known = _read(count, task.known.get(key, ""))
    if known:
        return _assign_roles(state, known, "known from an earlier run")
    example = json.dumps({"roles": [f"You are member {number}." for number in range(1, count + 1)]})
    form = Form(partial(_read, count), partial(_read_loosely, count), DryRunReplies(example, example))
    call = judge_call(preset, spec.model, role_writer(spec.task, count), "roles", layer=1)
    reply = yield from ask_form(call, form, until=schedule.roles_end(preset))
    if reply.value is None:
        unchanged = state.with_notes(f"the panel works without roles: {reply.outcome}")
        return unchanged.with_shortfalls(Shortfall.FALLBACK).with_facts(roles={"how": reply.outcome})
    learned = {**state.learned, key: json.dumps({"roles": reply.value}, ensure_ascii=False)}
    return _assign_roles(replace(state, learned=learned), reply.value, reply.outcome)


def roles_key(spec: Roles, count: int) -> str:
    """The key under which roles for `count` slots are stored; it is the same for every question of the task."""
    text = json.dumps([spec.task, count])
    return f"roles/{hashlib.blake2b(text.encode(), digest_size=16).hexdigest()}"


def _assign_roles(state: State, texts: Sequence[str], how: str) -> State:
    pairs = list(zip((*state.participants, *state.reserve), texts, strict=True))
    assigned = tuple(participant.with_instruction(role) for participant, role in pairs)
    by_slot = {str(participant.number): one_line(role) for participant, role in pairs}
    count = len(state.participants)
    return replace(state, participants=assigned[:count], reserve=assigned[count:]).with_facts(
        roles={"how": how, "by_slot": by_slot}
    )


def _read(count: int, text: str) -> list[str] | None:
    reply = json_object(text, "roles")
    value = reply["roles"] if reply else None
    return _distinct([_role_text(role) for role in value], count) if is_list(value) else None


def _read_loosely(count: int, text: str) -> list[str] | None:
    """Read a numbered list with one role per line."""
    return _distinct(_LISTED.findall(text), count)


def _distinct(roles: Sequence[str], count: int) -> list[str] | None:
    """The first `count` different roles; None if there are fewer."""
    distinct = dict.fromkeys(one_line(role, MAX_ROLE_CHARS) for role in roles)
    found = [role for role in distinct if role][:count]
    return found if len(found) == count else None


def _role_text(role: Any) -> str:
    """A role as text; models often split one into fields such as occupation, temper and group."""
    return "; ".join(str(part) for part in role.values()) if is_object(role) else str(role)
