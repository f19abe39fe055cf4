"""Extract what changed between two layers and pass it on (RMoA, Xie et al. 2025, arXiv 2505.24442).

As in a residual network, readers get an earlier state and the changes: the next layer gets the new drafts and the
residual, an aggregator gets the drafts of the layer before and the residual; both read which of the two they have. The
drafts that a layer passed on are compared with the later ones of the same slots, kept or not. Each layer is aggregated,
so that a good answer is kept if a later layer fails.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import Field

from moa_mcp.domain.fields import ModelSettingsOrId
from moa_mcp.domain.model import Batch, Draft, DryRunReplies, Task
from moa_mcp.domain.preset import Preset
from moa_mcp.domain.shortfalls import Shortfall
from moa_mcp.domain.stages import RESIDUALS, ResidualSpec
from moa_mcp.flows import schedule
from moa_mcp.flows.calls import call_notes, make_call, reads_prefix_again
from moa_mcp.flows.state import Reference, Stage, State
from moa_mcp.flows.structured_reply import Form, ask_form, json_object, judge_call
from moa_mcp.prompts.panel import messages_for
from moa_mcp.prompts.residual import extractor

MAX_RESIDUAL_CHARS = 12_000
"""How many characters of a residual are passed on."""

_DRY_RUN_REPLIES = DryRunReplies("Residuals Detected: No", "Residuals Detected: Yes\nModel 1: another detail")
_DETECTED = re.compile(r"\bresiduals?\W{1,4}detected[*_`\s]{0,5}:[*_`\s]{0,5}(yes|no)\b[^\w\n]{0,9}", re.IGNORECASE)
_NONE = re.compile(
    r"\W{0,9}(?:there (?:is|are|were) )?(?:no|none|nothing)(?: (?:significant |relevant |real )?"
    r"(?:residuals?|changes?|differences?))?(?: (?:was |were |are |is |has |have been )?"
    r"(?:detected|found|changed))?\W{0,9}",
    re.IGNORECASE,
)
_ANSWER_KEYS = ("residual_answer", "residuals_detected", "residual_detected", "detected")


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


def aggregate_layer(task: Task, preset: Preset, state: State, spec: Residual) -> Stage:
    """Aggregate the layer if another follows; else set the references that the conclusion aggregates.

    Both use the references of the layer before, beside the residual, or those of this layer if there is no residual.
    Conclusions that choose among drafts, and guidance for the caller, use the drafts of the last layer.
    """
    if task.output == "guidance" or not preset.conclude.merges_layers:
        return state
    merging = replace(state, references=state.previous, before_change=True) if _is_extracted(state) else state
    if state.stop_reason is not None or state.layer == preset.layers - 1:
        return merging
    aggregator = preset.aggregator
    messages = messages_for(
        task, merging.texts, preset.prompt_style, aggregator.role, merging.reader_notes, model=aggregator.model
    )
    # The role is not "aggregator", because that role writes the run's answer. This text is only a fallback.
    call = make_call(
        aggregator,
        messages,
        f"{state.layer}.merger",
        "merger",
        layer=state.layer,
        cache_prefix=reads_prefix_again(preset, aggregator.model),
    )
    (outcome,) = yield Batch(state.layer, (call,), until=schedule.after_layer(state.layer, preset).merger)
    state = state.with_notes(*call_notes((call,), (outcome,)))
    if not isinstance(outcome, Draft) or outcome.unfinished:
        return state
    return replace(state, fallback_answer=outcome, merged_layer=state.layer)


@RESIDUALS.register(Residual, end_of_layer=aggregate_layer)
def residual(task: Task, preset: Preset, state: State, spec: Residual) -> Stage:
    """Extract what the last layer changed; do nothing after layer 1.

    A malformed reply counts as a change, with its raw text as the residual, so that in doubt the layers go on. Without
    any reply, the layer has no residual.
    """
    if state.layer < 2:
        return state
    raw_texts: list[str] = []

    def read(text: str) -> ResidualReply | None:
        raw_texts.append(text.strip()[:MAX_RESIDUAL_CHARS])
        return read_residual(text)

    later = _texts_by_slot(state.written)
    pairs = {
        number: (text, later[number]) for number, text in _texts_by_slot(state.previous).items() if number in later
    }
    entry: dict[str, Any] = {"layer": state.layer, "detected": None, "how": "no slot wrote in both layers"}
    if not pairs:
        return state.with_log_entry("residual", {**entry, "models": []})
    messages = extractor(task, pairs)
    call = judge_call(preset, spec.model, messages, "extractor", layer=state.layer)
    form = Form(read, dry_run=_DRY_RUN_REPLIES)
    reply = yield from ask_form(call, form, until=schedule.after_layer(state.layer, preset).extractor)
    raw = next((text for text in reversed(raw_texts) if text), None)
    found = reply.value or (ResidualReply(detected=True, details=raw) if raw else None)
    entry |= {"detected": found.detected if found else None, "how": reply.outcome}
    state = state.with_log_entry("residual", {**entry, "models": _changed_models(found.details) if found else []})
    if found is None:
        failure = f"no model extracted the residual of layer {state.layer} ({reply.outcome}): it was a plain layer"
        return replace(state.with_notes(failure).with_shortfalls(Shortfall.UNREAD_JUDGE), residual=None)
    if reply.unfinished:
        state = state.with_notes(f"the residual of layer {state.layer} {reply.unfinished}")
    if reply.value is None:
        state = state.with_notes(
            f"the residual of layer {state.layer} has no status ({reply.outcome}): it was passed on as it is"
        )
    return replace(state, residual=found.details or None)


def unchanged_layers(state: State) -> int:
    """How many of the last layers in a row had no residual."""
    entries: Sequence[Mapping[str, Any]] = state.facts.get("residual", ())
    changed_places = (place for place, entry in enumerate(reversed(entries)) if entry["detected"] is not False)
    return next(changed_places, len(entries))


def read_residual(text: str) -> ResidualReply | None:
    """The status line and the text after it; None if there is no such line, or if lines contradict each other.

    A reply that consists of "No residuals." or the like has none, and an object with the status as a value is read too.
    """
    if _NONE.fullmatch(text):
        return ResidualReply(detected=False)
    for key in _ANSWER_KEYS:
        if reply := json_object(text, key):
            return _read_object(key, reply)
    found = list(_DETECTED.finditer(text))
    if len({one[1].lower() for one in found}) != 1:
        return None
    details = text[found[-1].end() :].strip()[:MAX_RESIDUAL_CHARS]
    detected = found[0][1].lower() == "yes"
    return ResidualReply(detected=detected, details=details if detected else "")


def _read_object(key: str, reply: Mapping[str, Any]) -> ResidualReply | None:
    status = str(reply[key]).strip(" .").lower()
    if status not in ("yes", "no", "true", "false"):
        return None
    details = "\n".join(
        value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        for name, value in reply.items()
        if name != key and value
    )
    detected = status in ("yes", "true")
    return ResidualReply(detected=detected, details=details[:MAX_RESIDUAL_CHARS] if detected else "")


def _texts_by_slot(references: Sequence[Reference]) -> dict[int, str]:
    return {one.participant.number: one.text for one in references}


def _changed_models(details: str) -> list[str]:
    """The numbers of the models that the lines of a residual mention, for the facts."""
    return sorted(set(re.findall(r"^\W{0,9}model (\d{1,3})\b", details, re.IGNORECASE | re.MULTILINE)), key=int)


def _is_extracted(state: State) -> bool:
    entries: Sequence[Mapping[str, Any]] = state.facts.get("residual", ())
    return bool(entries) and entries[-1]["layer"] == state.layer and entries[-1]["detected"] is not None
