"""What changed between two layers, extracted and passed on (RMoA, Xie et al. 2025, arXiv 2505.24442).

As in a residual network, readers get what was and what changed: the next layer its drafts and the residual, an
aggregator the drafts of the layer before and the residual. Each layer is aggregated, so that a good answer
stands when a later one fails.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import Field

from moa_mcp.domain.fields import ModelSettingsOrId
from moa_mcp.domain.model import Batch, Draft, DryRunReplies, Task
from moa_mcp.domain.preset import Preset
from moa_mcp.domain.stages import RESIDUALS, ResidualSpec
from moa_mcp.flows import schedule
from moa_mcp.flows.calls import call_notes, make_call
from moa_mcp.flows.state import Reference, Stage, State
from moa_mcp.flows.structured_reply import Form, ask_form, judge_call
from moa_mcp.prompts.panel import messages_for
from moa_mcp.prompts.residual import extractor

MAX_RESIDUAL_CHARS = 12_000
"""Characters of a residual that are passed on."""

_DRY_RUN_REPLIES = DryRunReplies("Residuals Detected: No", "Residuals Detected: Yes\nModel 1: another detail")
_DETECTED = re.compile(r"\bresiduals?\W{1,4}detected[*_`\s]{0,5}:[*_`\s]{0,5}(yes|no)\b[^\w\n]{0,9}", re.IGNORECASE)


class Residual(ResidualSpec):
    """From the second layer on, what changed since the layer before is extracted and passed on (RMoA)."""

    model: ModelSettingsOrId | None = Field(
        default=None, description="The model that extracts the changes. Unset: the aggregator's model."
    )


@dataclass(frozen=True, slots=True)
class ResidualReply:
    """Whether something changed, and what, in the extractor's words."""

    detected: bool
    details: str = ""


@RESIDUALS.register(Residual)
def residual(task: Task, preset: Preset, state: State, spec: Residual) -> Stage:
    """Extract what the layer that just ran changed; after layer 1, nothing.

    A reply out of form counts as a change, with its raw text as the residual: in doubt the layers go on. Without
    any reply the layer is a plain one.
    """
    if state.layer < 2:
        return state
    parts: list[str] = []

    def read(text: str) -> ResidualReply | None:
        parts.append(text.strip()[:MAX_RESIDUAL_CHARS])
        return read_residual(text)

    messages = extractor(task, _by_slot(state.previous), _by_slot(state.references))
    call = judge_call(preset, spec.model, messages, "extractor", layer=state.layer)
    form = Form(read, dry_run=_DRY_RUN_REPLIES)
    reply = yield from ask_form(call, form, until=schedule.after_layer(state.layer, preset).extractor)
    raw = next((text for text in reversed(parts) if text), None)
    found = reply.value or (ResidualReply(detected=True, details=raw) if raw else None)
    entry = {"layer": state.layer, "detected": found.detected if found else None, "how": reply.outcome}
    state = state.with_log_entry("residual", {**entry, "models": _changed(found.details) if found else []})
    if found is None:
        failure = f"nobody extracted the residual of layer {state.layer} ({reply.outcome}): it was a plain layer"
        return replace(state.with_notes(failure), residual=None, degraded=True)
    if reply.value is None:
        state = state.with_notes(
            f"the residual of layer {state.layer} has no status ({reply.outcome}): it was passed on as it is"
        )
    return replace(state, residual=found.details or None)


def aggregate_layer(task: Task, preset: Preset, state: State) -> Stage:
    """Aggregate the layer, where another follows; where none does, leave to the end what it has to aggregate.

    That is what the layer before passed on, beside the residual, unless the latter could not be had. Ends that
    choose among drafts, and callers that want them, get the drafts of the last layer.
    """
    if preset.residual is None or task.output == "guidance" or not preset.conclude.merges_layers:
        return state
    merging = replace(state, references=state.previous) if _extraction(state) else state
    if state.stop_reason is not None or state.layer == preset.layers - 1:
        return merging
    aggregator = preset.aggregator
    messages = messages_for(task, merging.texts, preset.prompt_style, aggregator.role, merging.reader_notes)
    # Not an "aggregator": that role writes the run's answer, and this is one only if no later layer has any.
    call = make_call(aggregator, messages, f"{state.layer}.merger", "merger", layer=state.layer)
    (outcome,) = yield Batch(state.layer, (call,), until=schedule.after_layer(state.layer, preset).merger)
    state = state.with_notes(*call_notes((call,), (outcome,)))
    return replace(state, fallback_answer=outcome) if isinstance(outcome, Draft) and not outcome.truncated else state


def unchanged_layers(state: State) -> int:
    """How many layers in a row, up to the last, brought no residual."""
    entries: Sequence[Mapping[str, Any]] = state.facts.get("residual", ())
    loud = (place for place, entry in enumerate(reversed(entries)) if entry["detected"] is not False)
    return next(loud, len(entries))


def read_residual(text: str) -> ResidualReply | None:
    """The status line and what stands behind it; None without one, or if it says both."""
    found = list(_DETECTED.finditer(text))
    if len({one[1].lower() for one in found}) != 1:
        return None
    details = text[found[-1].end() :].strip()[:MAX_RESIDUAL_CHARS]
    detected = found[0][1].lower() == "yes"
    return ResidualReply(detected=detected, details=details if detected else "")


def _by_slot(references: Sequence[Reference]) -> dict[int, str]:
    return {one.participant.number: one.text for one in references}


def _changed(details: str) -> list[str]:
    """The models that the lines of a residual speak of, for the facts: numbers, no texts."""
    return sorted(set(re.findall(r"^\W{0,9}model (\d{1,3})\b", details, re.IGNORECASE | re.MULTILINE)), key=int)


def _extraction(state: State) -> bool:
    entries: Sequence[Mapping[str, Any]] = state.facts.get("residual", ())
    return bool(entries) and entries[-1]["layer"] == state.layer and entries[-1]["detected"] is not None
