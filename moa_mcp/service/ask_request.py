"""A question with its options, and the key by which the same request finds its run again."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, fields

from moa_mcp.domain.model import Message, Output, Task
from moa_mcp.domain.preset import Limits, OnPartial, Preset
from moa_mcp.prompts.panel import user_turn


@dataclass(frozen=True, slots=True)
class AskRequest:
    """A question and its options.

    `preset` is a name, a Preset built in code, or None for the default. `on_partial` replaces the preset's, unless it
    is None. `max_cost_usd` and `deadline_seconds` can only lower the limits of the settings. `fresh` starts a new run
    even if a stored answer exists.
    """

    question: str
    preset: str | Preset | None = None
    context: str | None = None
    system: str | None = None
    history: tuple[Message, ...] = ()
    continue_from: str | None = None
    output: Output = "answer"
    on_partial: OnPartial | None = None
    max_cost_usd: float | None = None
    deadline_seconds: float | None = None
    fresh: bool = False

    @property
    def limits(self) -> Limits:
        return Limits(max_cost_usd=self.max_cost_usd, deadline_seconds=self.deadline_seconds)


_RESOLVED = frozenset({"question", "preset", "context", "system", "history", "continue_from", "output", "on_partial"})
"""The fields that are in the key as what they stand for: the task and the preset."""

_NOT_IN_KEY = frozenset({"max_cost_usd", "deadline_seconds", "fresh"})
"""The fields that do not change the answer to a request."""


def request_key(request: AskRequest, task: Task, preset: Preset) -> str:
    """Return a hash that is equal for repeated requests. The run's seed is not part of it.

    A further field of the request is in the key if it is set, so that its answer is not given to a request without it.
    """
    parts = [user_turn(task), task.system, [(turn.speaker, turn.text) for turn in task.history], task.output]
    others = (field for field in fields(request) if field.name not in _RESOLVED | _NOT_IN_KEY)
    values = ((field.name, getattr(request, field.name), field.default) for field in others)
    more = [[name, repr(value)] for name, value, default in values if value != default]
    text = json.dumps([*parts, preset.model_dump(mode="json"), *more], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
