"""Build calls from a preset's models, and describe their outcomes in notes for the reader of the answer."""

from __future__ import annotations

from collections.abc import Sequence

from moa_mcp.domain.errors import Reason
from moa_mcp.domain.fields import ModelSettings
from moa_mcp.domain.model import Call, ChatCall, Draft, Failure, Message, Outcome
from moa_mcp.domain.preset import Preset, Proposer
from moa_mcp.domain.shortfalls import LostDraft


def make_call(
    settings: ModelSettings,
    messages: Sequence[Message],
    call_id: str,
    role: str,
    *,
    layer: int,
    slot: int = 1,
    cache_prefix: bool = False,
) -> ChatCall:
    """Build the call to one model of a preset; `call_id` is unique in its flow."""
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
        sampling=settings.sampling,
        cache_prefix=cache_prefix and messages[-1].shared_chars > 0,
    )


def reads_prefix_again(preset: Preset, model: str) -> bool:
    """Whether several steps of the plan, one after another, send the shared beginning of the messages to `model`.

    Only then is it worth storing in a prompt cache that charges for it.
    """
    proposes = any(isinstance(slot, Proposer) and slot.model == model for slot in preset.slots)
    times = preset.layers - 1 if proposes else 0
    if model == preset.aggregator.model and preset.conclude.shares_messages:
        times += max(1, preset.layers - 1) if preset.residual else 1
    return times > 1


def call_notes(calls: Sequence[Call], outcomes: Sequence[Outcome]) -> list[str]:
    """Notes for the reader of the answer: which calls failed or did not finish their text."""
    return [note for pair in zip(calls, outcomes, strict=True) for note in _outcome_notes(*pair)]


def lost_drafts(calls: Sequence[Call], outcomes: Sequence[Outcome]) -> list[LostDraft]:
    """The drafts that are missing, because their calls failed."""
    pairs = zip(calls, outcomes, strict=True)
    return [LostDraft(call.slot, call.model, one.reason) for call, one in pairs if isinstance(one, Failure)]


def all_refused(outcomes: Sequence[Outcome]) -> bool:
    """Whether every call failed because its model refused to answer."""
    return all(isinstance(outcome, Failure) and outcome.reason is Reason.REFUSED for outcome in outcomes)


def call_name(call: Call) -> str:
    """A call as notes name it: its role, layer, slot and model."""
    return f"{call.role} {call.layer}.{call.slot} ({call.model})"


def _outcome_notes(call: Call, outcome: Outcome) -> list[str]:
    if not isinstance(outcome, Failure) and not (isinstance(outcome, Draft) and (outcome.unfinished or outcome.notes)):
        return []
    name = call_name(call)
    if isinstance(outcome, Failure):
        return [f"{name} left out: {outcome}"]
    if outcome.cut:
        return ["; ".join((f"{name} {outcome.unfinished}", *outcome.notes))]
    early = [f"{name} {outcome.unfinished}"] if outcome.unfinished else []
    return [*early, *(f"{name}: {note}" for note in outcome.notes)]


def _normalize_temperature(temperature: float | None) -> float | None:
    """Return 0 for a temperature up to 1e-4, as the paper's reference code does."""
    return 0.0 if temperature is not None and temperature <= 1e-4 else temperature
