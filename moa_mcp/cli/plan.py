"""`moa-mcp ask --dry-run`: what a request would do, before anything is sent."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import click

from moa_mcp.cli.answer import write
from moa_mcp.cli.opening import valid_settings
from moa_mcp.cli.shape import tree
from moa_mcp.service.service import Plan, Request
from moa_mcp.text import one_line, printable
from moa_mcp.views import rounded
from moa_mcp.wiring import open_service


async def show_plan(request: Request, as_json: bool) -> None:
    """Print the plan of a request. Raises what the request would be refused with."""
    valid_settings()
    async with open_service() as service:
        plan = await service.plan(request)
    if as_json:
        write(json.dumps(_facts(plan), ensure_ascii=False, indent=2))
        return
    for note in plan.notes:
        click.echo(f"moa-mcp: {one_line(note, 1000)}", err=True)
    write(printable("\n".join((*tree(plan.preset), *_figures(plan)))))


def _facts(plan: Plan) -> dict[str, Any]:
    return {
        "preset": plan.preset.name,
        "layers": plan.preset.layers,
        "calls": plan.rehearsal.calls,
        "serial_rounds": plan.rehearsal.rounds,
        "calls_by_model": _by_model(plan),
        "estimated_cost_usd": rounded(plan.cost_usd),
        "limits": plan.limits.model_dump(),
        "notes": list(plan.notes),
    }


def _by_model(plan: Plan) -> dict[str, int]:
    return dict(Counter(call.model for call in plan.rehearsal.asked))


def _figures(plan: Plan) -> list[str]:
    asked = plan.rehearsal.asked
    read, written = sum(call.input_tokens for call in asked), sum(call.output_tokens for call in asked)
    return [
        f"{plan.preset.layers} layers · {plan.rehearsal.calls} calls in {plan.rehearsal.rounds} rounds",
        *(f"  {count:>3} × {model}" for model, count in _by_model(plan).items()),
        f"about {read:,} tokens in and {written:,} out; {estimate(plan.cost_usd)}",
        "Nothing was sent.",
    ]


def estimate(cost_usd: float | None) -> str:
    """An estimated price for people."""
    return "price unknown" if cost_usd is None else f"about ${cost_usd:.4f}"
