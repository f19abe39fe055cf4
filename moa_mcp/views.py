"""A run as others see it: as a tool result, as markdown, as JSON. Pure: values in, text out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NotRequired

from typing_extensions import TypedDict  # below Python 3.12 no schema can be made of typing's own

from moa_mcp.model import CallRecord, CallStatus, Draft, Run, RunStatus

DRAFTS_SHOWN = 40_000
"""How many characters of drafts a tool result holds at most; a client cuts longer results without a word."""


class CallFacts(TypedDict):
    """What is told of one call; `seconds` of wall time, tokens as counted by the provider, price in USD."""

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


class RunResult(TypedDict):
    """The structured result of a run. An unknown price is null, never 0."""

    run_id: str
    status: RunStatus
    answer: str | None
    preset: str
    degraded: bool
    notes: list[str]
    layers: int
    calls: list[CallFacts]
    method: dict[str, Any]
    calls_made: int
    input_tokens: int | None
    output_tokens: int | None
    cost_usd: float | None
    seconds: float
    resources: Resources
    error: str | None
    cached: bool
    drafts: NotRequired[list[DraftText]]


def result(run: Run, *, drafts: bool = False) -> RunResult:
    """All facts of a run, and its drafts (capped at `DRAFTS_SHOWN` characters) if they are asked for."""
    facts: RunResult = {
        "run_id": run.run_id,
        "status": run.status,
        "answer": run.answer,
        "preset": run.preset,
        "degraded": run.degraded,
        "notes": list(run.notes),
        "layers": run.layers,
        "calls": [call_facts(record) for record in in_order(run)],
        "method": dict(run.method),
        "calls_made": run.calls_made,
        "input_tokens": run.input_tokens,
        "output_tokens": run.output_tokens,
        "cost_usd": rounded(run.cost_usd),
        "seconds": round(run.seconds, 3),
        "resources": {"run": f"moa://runs/{run.run_id}", "drafts": f"moa://runs/{run.run_id}/drafts"},
        "error": run.error,
        "cached": run.cached,
    }
    if drafts:
        facts["drafts"] = _capped([draft_text(record) for record in run.drafts], facts["resources"]["drafts"])
    return facts


def call_facts(record: CallRecord) -> CallFacts:
    """What is told of one call."""
    call, outcome = record.call, record.outcome
    return {
        "role": call.role,
        "layer": call.layer,
        "slot": call.slot,
        "model": call.model,
        "served_model": outcome.served_model,
        "status": record.status,
        "error": record.error,
        "finish_reason": outcome.finish_reason,
        "retries": outcome.retries,
        "seconds": round(record.seconds, 3),
        "input_tokens": outcome.usage.input_tokens,
        "output_tokens": outcome.usage.output_tokens,
        "cost_usd": rounded(outcome.usage.cost_usd),
    }


def draft_text(record: CallRecord) -> DraftText:
    """One draft in full."""
    text = record.outcome.text if isinstance(record.outcome, Draft) else None
    call = record.call
    return {
        "layer": call.layer,
        "slot": call.slot,
        "model": call.model,
        "status": record.status,
        "text": text,
    }


def in_order(run: Run) -> list[CallRecord]:
    """The calls to models in the order of layer and slot, whatever order they finished in."""
    asked = (record for record in run.calls if record.call.kind != "code")
    return sorted(asked, key=lambda record: (record.call.layer, record.call.slot, record.call.id))


def as_markdown(run: Run, *, drafts: bool = False) -> str:
    """A run for a reader who sees text only: the answer first, then the same facts as in `result`."""
    parts = [_headline(run)]
    if drafts:
        shown = result(run, drafts=True).get("drafts", [])
        parts += [
            f"### Draft {d['layer']}.{d['slot']} — {d['model']}\n\n{d['text'] or d['status']}" for d in shown
        ]
    parts.append(account(run))
    return "\n\n".join(parts)


def account(run: Run) -> str:
    """Who said what at what cost, one line per call, and every note."""
    lines = [
        f"Run {run.run_id} · preset {run.preset} · {run.status}{_marks(run)} · "
        f"{run.layers} layers · {run.calls_made} calls · {tokens(run.input_tokens)} in, "
        f"{tokens(run.output_tokens)} out · {dollars(run.cost_usd)} · {run.seconds:.1f} s"
    ]
    lines += [f"- {call_line(record)}" for record in in_order(run)]
    lines += [f"- Note: {note}" for note in run.notes]
    lines += [f"- {key}: {value}" for key, value in run.method.items()]
    lines.append(f"Drafts: moa://runs/{run.run_id}/drafts")
    return "\n".join(lines)


def call_line(record: CallRecord) -> str:
    """One call on one line."""
    call, outcome = record.call, record.outcome
    served = outcome.served_model
    model = (
        call.model
        if served is None or call.model.endswith(served)
        else f"{call.model} (answered by {served})"
    )
    parts = [
        f"{call.role} {call.layer}.{call.slot} {model}: {record.status}",
        f"{record.seconds:.1f} s",
        f"{tokens(outcome.usage.input_tokens)} in, {tokens(outcome.usage.output_tokens)} out",
        dollars(outcome.usage.cost_usd),
    ]
    parts += [f"finish {outcome.finish_reason}"] if outcome.finish_reason not in (None, "stop") else []
    parts += [f"{outcome.retries} retries"] if outcome.retries else []
    parts += [record.error] if record.error else []
    return " · ".join(parts)


def draft_markdown(record: CallRecord) -> str:
    """One draft as a document of its own."""
    body = record.outcome.text if isinstance(record.outcome, Draft) else f"*No draft: {record.error}.*"
    return f"# Draft {record.call.layer}.{record.call.slot}: {record.call.model}\n\n{body}\n"


def tokens(count: int | None) -> str:
    """A token count for people."""
    return "unknown" if count is None else f"{count:,}"


def dollars(cost: float | None) -> str:
    """A price for people; an unknown one is said to be unknown."""
    return "price unknown" if cost is None else f"${cost:.4f}"


def rounded(cost: float | None) -> float | None:
    """A price to the hundred-thousandth of a cent: no float dust, nothing lost."""
    return None if cost is None else round(cost, 7)


def _marks(run: Run) -> str:
    return "".join(f" · {mark}" for mark in ("degraded", "cached") if getattr(run, mark))


def _headline(run: Run) -> str:
    if run.answer is not None:
        return run.answer
    if run.status == "running":
        return (
            f"The run goes on: {run.calls_made} calls are done so far. "
            f'Call moa_ask with run_id="{run.run_id}" to wait for its answer, or add cancel=true to stop it.'
        )
    return run.error or f"The run was {run.status} and has no answer."


def _capped(drafts: list[DraftText], where: str) -> list[DraftText]:
    room = DRAFTS_SHOWN
    shown: list[DraftText] = []
    for draft in drafts:
        text = draft["text"]
        if text is not None and len(text) > room:
            text = f"{text[:room]}… [cut: the whole draft is in {where}]"
        room = max(0, room - len(text or ""))
        shown.append({**draft, "text": text})
    return shown


def as_json(run: Run) -> Mapping[str, Any]:
    """A run as its resource shows it: the result, and what was asked."""
    return {"question": run.task.question, "created_at": run.created_at, **result(run)}
