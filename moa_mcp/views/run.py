"""Formats a run as a tool result, as Markdown or as JSON, with all texts as they are in the run. Pure functions."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NotRequired, TypeVar

from typing_extensions import TypedDict  # below Python 3.12 no schema can be made of typing's own

from moa_mcp.domain.model import AGGREGATOR, CallRecord, CallStatus, CodeCall, Draft, Run, RunStatus
from moa_mcp.domain.shortfalls import LostDraft, PanelSummary
from moa_mcp.domain.text import one_line
from moa_mcp.views.notice import with_notice

MAX_DRAFTS_BYTES = 40_000
"""The most characters of drafts in a tool result. A client may cut longer results without a notice."""

CALLS_SHOWN, NOTES_SHOWN, METHOD_SHOWN, ERROR_SHOWN, LOST_SHOWN = 5_000, 1_200, 1_000, 1_200, 800
"""The most bytes of each part beside an answer in `brief`. With the other facts the total is below 10,000."""

COST_PLACES = 7
"""Decimal places of a price in US dollars."""

Item = TypeVar("Item")


class CallFacts(TypedDict):
    """The facts of one call: `seconds` of wall time, tokens as counted by the provider, price in USD.

    The last three are parts of the input and the output, and are there if they are above 0.
    """

    role: str
    layer: int
    slot: int
    model: str
    served_model: str | None
    status: CallStatus
    error: str | None
    finish_reason: str | None
    retries: int
    seconds: float
    input_tokens: int | None
    output_tokens: int | None
    cost_usd: float | None
    cached_tokens: NotRequired[int]
    cache_write_tokens: NotRequired[int]
    reasoning_tokens: NotRequired[int]


class DraftText(TypedDict):
    """One draft in full; `text` is null where the proposer failed."""

    layer: int
    slot: int
    model: str
    status: CallStatus
    text: str | None


class Resources(TypedDict):
    """Where the rest of a run is read."""

    run: str
    drafts: str


class LostDraftFacts(TypedDict):
    """A missing draft: the slot and the model that were asked, and the reason."""

    slot: int
    model: str
    reason: str


class PanelFacts(TypedDict):
    """How many slots were asked and answered, and the missing drafts.

    `skewed`: they are the slower ones (time ran out for one), or their models cost more per output token, on average.
    """

    asked: int
    answered: int
    lost: list[LostDraftFacts]
    skewed: bool


class RunResult(TypedDict):
    """The structured result of a run. An unknown price is null, never 0: `cost_usd` is null if any price is unknown.

    `known_cost_usd` is the sum of the prices that are known, `unpriced_calls` the number of calls without one.
    """

    run_id: str
    status: RunStatus
    answer: str | None
    preset: str
    degraded: bool
    partial: bool
    panel: PanelFacts
    notes: list[str]
    layers: int
    calls: list[CallFacts]
    method: dict[str, Any]
    calls_made: int
    input_tokens: int | None
    output_tokens: int | None
    cost_usd: float | None
    known_cost_usd: float
    unpriced_calls: int
    seconds: float
    resources: Resources
    error: str | None
    cached: bool
    drafts: NotRequired[list[DraftText]]


@dataclass(frozen=True, slots=True)
class Extent:
    """The parts of a run that are shown in addition to its answer."""

    calls: list[CallRecord]
    notes: list[str]
    method: Mapping[str, Any]
    error: str | None
    lost: Sequence[LostDraft]


def whole(run: Run) -> Extent:
    """Show the whole run."""
    return Extent(calls_in_order(run), list(run.notes), run.method, run.error, run.panel.lost)


def brief(run: Run) -> Extent:
    """Show what fits beside an answer: the call that wrote it, failed calls, other calls, and a note on the rest."""
    where, calls = f"moa://runs/{run.run_id}", calls_in_order(run)
    telling = sorted(calls, key=lambda record: (record.call.role != AGGREGATOR, record.status == "ok"))
    shown = {id(record) for record in _take_fitting(telling, CALLS_SHOWN, call_facts)}
    notes = list(_take_fitting((one_line(note, 400) for note in run.notes), NOTES_SHOWN, str))
    lost = list(_take_fitting(run.panel.lost, LOST_SHOWN, _lost_facts))
    left = [(len(calls) - len(shown), "calls"), (len(run.notes) - len(notes), "notes")]
    left.append((len(run.panel.lost) - len(lost), "lost drafts"))
    if not (method := _size(run.method) <= METHOD_SHOWN):
        left.append((len(run.method), "facts of the method"))
    if missing := ", ".join(f"{count} {what}" for count, what in left if count):
        notes.append(f"Left out here: {missing}. All is in {where}.")
    error = run.error
    if error and _size(error) > ERROR_SHOWN:
        error = f"{error.encode()[:ERROR_SHOWN].decode(errors='ignore')}… [cut: all of it is in {where}]"
    return Extent([one for one in calls if id(one) in shown], notes, run.method if method else {}, error, lost)


def result(run: Run, *, drafts: bool = False, extent: Extent | None = None) -> RunResult:
    """Return the facts of a run (by default all). With `drafts`, add its drafts, cut at `MAX_DRAFTS_BYTES`."""
    extent = extent or whole(run)
    facts: RunResult = {
        "run_id": run.run_id,
        "status": run.status,
        "answer": run.answer,
        "preset": run.preset,
        "degraded": run.degraded,
        "partial": run.partial,
        "panel": _panel_facts(run.panel, extent.lost),
        "notes": extent.notes,
        "layers": run.layers,
        "calls": [call_facts(record) for record in extent.calls],
        "method": dict(extent.method),
        "calls_made": run.calls_made,
        "input_tokens": run.input_tokens,
        "output_tokens": run.output_tokens,
        "cost_usd": round_cost(run.cost_usd),
        "known_cost_usd": round(run.known_cost_usd, COST_PLACES),
        "unpriced_calls": run.unpriced_calls,
        "seconds": round(run.seconds, 3),
        "resources": {"run": f"moa://runs/{run.run_id}", "drafts": f"moa://runs/{run.run_id}/drafts"},
        "error": extent.error,
        "cached": run.cached,
    }
    if drafts:
        facts["drafts"] = _cap_drafts([draft_text(record) for record in run.drafts], facts["resources"]["drafts"])
    return facts


def _panel_facts(panel: PanelSummary, lost: Sequence[LostDraft]) -> PanelFacts:
    return {
        "asked": panel.asked,
        "answered": panel.answered,
        "lost": [_lost_facts(one) for one in lost],
        "skewed": panel.skewed,
    }


def _lost_facts(one: LostDraft) -> LostDraftFacts:
    return {"slot": one.slot, "model": one.model, "reason": one.cause}


def call_facts(record: CallRecord) -> CallFacts:
    """Return the facts of one call."""
    call, outcome = record.call, record.outcome
    facts: CallFacts = {
        "role": call.role,
        "layer": call.layer,
        "slot": call.slot,
        "model": call.model,
        "served_model": outcome.served_model,
        "status": record.status,
        "error": record.error,
        "finish_reason": outcome.finish_reason,
        "retries": outcome.usage.retries,
        "seconds": round(record.seconds, 3),
        "input_tokens": outcome.usage.input_tokens,
        "output_tokens": outcome.usage.output_tokens,
        "cost_usd": round_cost(outcome.usage.cost_usd),
    }
    if outcome.usage.cached_tokens:
        facts["cached_tokens"] = outcome.usage.cached_tokens
    if outcome.usage.cache_write_tokens:
        facts["cache_write_tokens"] = outcome.usage.cache_write_tokens
    if outcome.usage.reasoning_tokens:
        facts["reasoning_tokens"] = outcome.usage.reasoning_tokens
    return facts


def draft_text(record: CallRecord) -> DraftText:
    """Return one draft of a run in full."""
    text = record.outcome.text if isinstance(record.outcome, Draft) else None
    call = record.call
    return {"layer": call.layer, "slot": call.slot, "model": call.model, "status": record.status, "text": text}


def calls_in_order(run: Run) -> list[CallRecord]:
    """Return the calls to models, sorted by layer and slot."""
    asked = (record for record in run.sent if not isinstance(record.call, CodeCall))
    return sorted(asked, key=lambda record: (record.call.layer, record.call.slot, record.call.id))


def as_markdown(run: Run, *, drafts: bool = False, extent: Extent | None = None) -> str:
    """Format a run as text: the answer first, then the same facts as in `result`."""
    extent = extent or whole(run)
    parts = [_headline(run, extent)]
    if drafts:
        shown = result(run, drafts=True).get("drafts", [])
        parts += [f"### Draft {d['layer']}.{d['slot']} — {d['model']}\n\n{d['text'] or d['status']}" for d in shown]
    parts.append(format_calls(run, extent))
    return "\n\n".join(parts)


def format_calls(run: Run, extent: Extent | None = None, drafts_at: str | None = None) -> str:
    """Format the facts of a run: one line per call (by default all), the notes, and the address of the drafts."""
    extent = extent or whole(run)
    facts = (
        f"Run {run.run_id} · preset {run.preset} · {run.status}{_marks(run)}",
        f"{pluralize(run.layers, 'layer')} · {pluralize(run.calls_made, 'call')}",
        f"{format_tokens(run.input_tokens)} in{cached_part(run.cached_tokens)}, {format_tokens(run.output_tokens)} out",
        format_run_cost(run),
        f"{run.seconds:.1f} s",
    )
    lines = [" · ".join(facts)]
    lines += [f"- {call_line(record)}" for record in extent.calls]
    lines += [f"- Note: {note}" for note in extent.notes]
    lines += [f"- {key}: {value}" for key, value in extent.method.items()]
    lines.append(f"Drafts: {drafts_at or f'moa://runs/{run.run_id}/drafts'}")
    return "\n".join(lines)


def call_line(record: CallRecord) -> str:
    """Format one call on one line."""
    call, outcome = record.call, record.outcome
    served = outcome.served_model
    model = call.model if served is None or call.model.endswith(served) else f"{call.model} (answered by {served})"
    used = outcome.usage
    parts = [
        f"{call.role} {call.layer}.{call.slot} {model}: {record.status}",
        f"{record.seconds:.1f} s",
        format_tokens(used.input_tokens)
        + f" in{cached_part(used.cached_tokens)}, {format_tokens(used.output_tokens)} out",
        format_cost(used.cost_usd) + (" (estimated)" if used.estimated else ""),
    ]
    parts += [f"finish {outcome.finish_reason}"] if outcome.finish_reason not in (None, "stop") else []
    parts += [f"{used.retries} retries"] if used.retries else []
    parts += [record.error] if record.error else []
    return " · ".join(parts)


def draft_markdown(record: CallRecord) -> str:
    """Format one draft of a run as a separate document."""
    body = draft_text(record)["text"] or f"*No draft: {record.error}.*"
    return f"# Draft {record.call.layer}.{record.call.slot}: {record.call.model}\n\n{body}\n"


def drafts_markdown(run: Run) -> str:
    """Format all drafts of a run, one document after the other."""
    return "\n".join(map(draft_markdown, run.drafts))


def pluralize(count: int | None, noun: str) -> str:
    """Format a number of things: `1 call`, `2 calls`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def format_tokens(count: int | None) -> str:
    """Format a token count for people."""
    return "unknown" if count is None else f"{count:,}"


def format_cost(cost: float | None) -> str:
    """Format a price in US dollars for people; None becomes "price unknown"."""
    return "price unknown" if cost is None else f"${cost:.4f}"


def cached_part(cached_tokens: int) -> str:
    """Format the part of the input that providers read from their prompt caches; empty if there is none."""
    return f" ({cached_tokens:,} cached)" if cached_tokens else ""


def format_run_cost(run: Run) -> str:
    """Format the price of a run for people."""
    return format_total_cost(run.known_cost_usd, run.unpriced_calls or int(run.cost_usd is None))


def format_total_cost(known_usd: float, unpriced_calls: int) -> str:
    """Format the price of several calls for people; if only a part of it is known, say so."""
    if unpriced_calls and known_usd:
        return f"at least {format_cost(known_usd)}, {pluralize(unpriced_calls, 'call')} without a price"
    return format_cost(None if unpriced_calls else known_usd)


def round_cost(cost: float | None) -> float | None:
    """Round a price, to remove floating-point noise."""
    return None if cost is None else round(cost, COST_PLACES)


def _marks(run: Run) -> str:
    return "".join(f" · {mark}" for mark in ("partial", "degraded", "cached") if getattr(run, mark))


def _headline(run: Run, extent: Extent) -> str:
    if run.answer is not None:
        return with_notice(run, run.answer)
    if run.status == "running":
        return (
            f"The run goes on; done so far: {pluralize(run.calls_made, 'call')}. "
            f'Call moa_ask with run_id="{run.run_id}" to wait for its answer, or add cancel=true to stop it.'
        )
    return extent.error or f"The run was {run.status} and has no answer."


def _take_fitting(items: Iterable[Item], room: int, facts: Callable[[Item], Any]) -> Iterator[Item]:
    """Yield the items that fit into `room` bytes; earlier items come first."""
    for item in items:
        size = _size(facts(item)) + 2
        if size <= room:
            room -= size
            yield item


def _size(facts: Any) -> int:
    return len(json.dumps(facts, ensure_ascii=False, default=str).encode("utf-8", "replace"))


def _cap_drafts(drafts: list[DraftText], where: str) -> list[DraftText]:
    room = MAX_DRAFTS_BYTES
    shown: list[DraftText] = []
    for draft in drafts:
        text = draft["text"]
        if text is not None and len(text) > room:
            text = f"{text[:room]}… [cut: the whole draft is in {where}]"
        room = max(0, room - len(text or ""))
        shown.append({**draft, "text": text})
    return shown


def as_json(run: Run) -> Mapping[str, Any]:
    """Return the content of a run's resource: the result and the question."""
    return {"question": run.task.question, "context": run.task.context, "created_at": run.created_at, **result(run)}
