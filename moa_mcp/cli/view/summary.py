"""Prints notes on the answer to stderr when a run has ended, and on a terminal the cost of the run."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping

import click

from moa_mcp.domain.endpoints import DIALECTS, Endpoint, split_model
from moa_mcp.domain.errors import RunFailed
from moa_mcp.domain.model import Run
from moa_mcp.domain.text import one_line
from moa_mcp.views.run import cached_part, format_run_cost, format_tokens, pluralize

NO_MODEL = (
    "No model was called: the demo panel answered with canned text. Set the key variable of a provider, "
    "for example OPENROUTER_API_KEY, and ask again; `moa-mcp doctor` lists them all."
)


def report(run: Run, endpoints: Mapping[str, Endpoint]) -> None:
    """Print the notes and, on a terminal, the totals of a run that has ended.

    Raises:
        RunFailed: the run has no answer; the message names the causes.
    """
    for note in _notes(run, endpoints):
        click.echo(f"moa-mcp: {one_line(note, 1000)}", err=True)
    if sys.stderr.isatty():
        click.echo(totals_line(run), err=True)
    if run.answer is None:
        raise RunFailed(run.error or f"The run was {run.status} and has no answer.")


def _notes(run: Run, endpoints: Mapping[str, Endpoint]) -> Iterator[str]:
    if run.cached:
        yield "The same question was answered just before; this is the stored answer. --fresh asks again."
    if all_demo((record.call.model for record in run.calls), endpoints):
        yield NO_MODEL
    else:
        yield from run.notes


def totals_line(run: Run) -> str:
    """The calls, tokens, cost and seconds of the run, on one line."""
    return (
        f"{run.preset} · {run.status}{_marks(run)} · {pluralize(run.layers, 'layer')} · "
        f"{pluralize(run.calls_made, 'call')} · "
        f"{format_tokens(run.input_tokens)} tokens in{cached_part(run.cached_tokens)}, "
        f"{format_tokens(run.output_tokens)} out · {format_run_cost(run)} · {run.seconds:.1f} s"
    )


def _marks(run: Run) -> str:
    return "".join(f", {mark}" for mark in ("partial", "degraded", "cached") if getattr(run, mark))


def all_demo(models: Iterable[str], endpoints: Mapping[str, Endpoint]) -> bool:
    """Whether all models belong to the demo provider, which calls no model. False if there are no models."""
    found = [endpoints.get(split_model(model)[0]) for model in models]
    return bool(found) and all(
        endpoint is not None and not DIALECTS.get(endpoint.dialect).calls_models for endpoint in found
    )
