"""`moa-mcp ask --dry-run`: shows what a request would do, and sends nothing."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import click

from moa_mcp.api import open_service
from moa_mcp.cli.config import valid_settings
from moa_mcp.cli.view.answer import write
from moa_mcp.cli.view.preset_tree import tree
from moa_mcp.domain.text import one_line, strip_invisible
from moa_mcp.flows.planning.call_bounds import call_bounds, early_end_note
from moa_mcp.service.service import AskRequest, Plan
from moa_mcp.views.run import pluralize, round_cost


async def show_plan(request: AskRequest, as_json: bool) -> None:
    """Print the plan of a request. Raises the error that the request itself would raise."""
    valid_settings()
    async with open_service() as service:
        plan = await service.plan(request)
    if as_json:
        write(json.dumps(_facts(plan), ensure_ascii=False, indent=2))
        return
    for note in _notes(plan):
        click.echo(f"moa-mcp: {one_line(note, 1000)}", err=True)
    write(strip_invisible("\n".join((*tree(plan.preset), *_figures(plan)))))


def _facts(plan: Plan) -> dict[str, Any]:
    return {
        "preset": plan.preset.name,
        "layers": plan.preset.layers,
        "calls": plan.dry_run.calls,
        "serial_rounds": plan.dry_run.rounds,
        "calls_by_model": _by_model(plan),
        "estimated_cost_usd": round_cost(plan.cost_usd),
        "limits": plan.limits.model_dump(),
        "notes": _notes(plan),
    }


def _notes(plan: Plan) -> list[str]:
    """Notes on the plan. The first one names a missing key, if the plan needs one."""
    missing = [str(plan.missing)] if plan.missing else []
    return [*missing, *plan.notes, *early_end_note(call_bounds(plan.preset, plan.task), plan.limits.max_calls)]


def _by_model(plan: Plan) -> dict[str, int]:
    return dict(Counter(call.model for call in plan.dry_run.planned_calls))


def _figures(plan: Plan) -> list[str]:
    read, written = plan.dry_run.input_tokens, plan.dry_run.output_tokens
    return [
        extent(plan.preset.layers, plan.dry_run.calls, plan.dry_run.rounds),
        *(f"  {count:>3} × {model}" for model, count in _by_model(plan).items()),
        f"about {read:,} tokens in and {written:,} out; {estimate(plan.cost_usd)}",
        f"limits: {_bounds(plan)}",
        "Nothing was sent.",
    ]


def _bounds(plan: Plan) -> str:
    """The limits of the run. The limit in dollars holds only if the price is known."""
    limits = plan.limits
    dollars = "price unknown, so no limit in dollars holds" if plan.cost_usd is None else f"${limits.max_cost_usd:g}"
    bounds = (
        f"{limits.max_calls} calls" if limits.max_calls else "",
        f"{limits.max_tokens:,} tokens" if limits.max_tokens else "",
        dollars if limits.max_cost_usd else "",
        f"{limits.deadline_seconds:g} s" if limits.deadline_seconds else "",
    )
    return ", ".join(bound for bound in bounds if bound)


def extent(layers: int | None, calls: int | None, rounds: int | None) -> str:
    """The numbers of layers, calls and rounds of a preset, as text."""
    return f"{pluralize(layers, 'layer')} · {pluralize(calls, 'call')} in {pluralize(rounds, 'round')}"


def estimate(cost_usd: float | None) -> str:
    """An estimated price, as text."""
    return "price unknown" if cost_usd is None else f"about ${cost_usd:.4f}"
