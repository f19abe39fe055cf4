"""How a preset's model becomes a call, and what the reader of the answer should know of its outcome."""

from __future__ import annotations

from collections.abc import Sequence

from moa_mcp.domain.errors import Reason
from moa_mcp.domain.fields import ModelSettings
from moa_mcp.domain.model import Call, ChatCall, Failure, Message, Outcome


def make_call(
    settings: ModelSettings,
    messages: Sequence[Message],
    call_id: str,
    role: str,
    *,
    layer: int,
    slot: int = 1,
) -> ChatCall:
    """The call that asks a preset's model; `call_id` is unique in its flow."""
    return ChatCall(
        id=call_id,
        role=role,
        layer=layer,
        slot=slot,
        model=settings.model,
        messages=tuple(messages),
        temperature=_normalize_temperature(settings.temperature),
        max_tokens=settings.max_tokens,
        effort=settings.effort,
        timeout_seconds=settings.timeout_seconds,
    )


def call_notes(calls: Sequence[Call], outcomes: Sequence[Outcome]) -> list[str]:
    """What the reader of the answer should know of these calls: who was left out, cut or stopped early."""
    return [remark for pair in zip(calls, outcomes, strict=True) for remark in _notes_on(*pair)]


def all_refused(outcomes: Sequence[Outcome]) -> bool:
    """Whether nobody wrote anything because everybody refused to."""
    return all(isinstance(outcome, Failure) and outcome.reason is Reason.REFUSED for outcome in outcomes)


def _notes_on(call: Call, outcome: Outcome) -> list[str]:
    name = f"{call.role} {call.layer}.{call.slot} ({call.model})"
    if isinstance(outcome, Failure):
        return [f"{name} left out: {outcome}"]
    if outcome.cut:
        why = "; ".join(("", *outcome.notes))
        return [f"{name} was cut off before its end{why}"]
    early = [f"{name} ran out of tokens and stops early"] if outcome.truncated else []
    return [*early, *(f"{name}: {note}" for note in outcome.notes)]


def _normalize_temperature(temperature: float | None) -> float | None:
    """The paper's reference code sends anything up to 1e-4 as 0."""
    return 0.0 if temperature is not None and temperature <= 1e-4 else temperature
