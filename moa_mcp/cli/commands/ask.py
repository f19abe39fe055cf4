"""`moa-mcp ask`: one run. On a terminal it shows the progress of the run; to a pipe it writes only the answer."""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import get_args

import anyio
import click

from moa_mcp.api import open_service
from moa_mcp.cli.config import valid_settings
from moa_mcp.cli.group import DONE, INTERRUPTED, LACKING
from moa_mcp.cli.inputs import context_of, question_of
from moa_mcp.cli.logs import log_level
from moa_mcp.cli.view.answer import AnswerWriter, writer_for
from moa_mcp.cli.view.plan import show_plan
from moa_mcp.cli.view.summary import report
from moa_mcp.domain.model import Run
from moa_mcp.domain.preset import OnPartial
from moa_mcp.runs.events import Event, EventHandler
from moa_mcp.service.service import AskRequest

STOPPED = "Interrupted: the calls were stopped."

GOES_ON = (
    "Ask the same within ten minutes, without --fresh, and the run goes on where it stopped; what it has is not paid "
    "for again."
)


@click.command()
@click.argument("words", metavar="[QUESTION]", nargs=-1)
@click.option("--preset", metavar="NAME", help="The panel to ask; `moa-mcp presets` lists them.")
@click.option(
    "--context",
    "contexts",
    metavar="FILE",
    multiple=True,
    help="Background text from a file, `-` for stdin. May be given several times.",
)
@click.option(
    "--on-partial",
    type=click.Choice(get_args(OnPartial)),
    help="Once a draft is missing: answer all the same, or refuse before the next layer. Unset: as the preset says.",
)
@click.option("--strict", is_flag=True, help="Exit with 3 if the answer is partial or degraded.")
@click.option("--json", "as_json", is_flag=True, help="Print the run as JSON, and nothing else, on stdout.")
@click.option("--drafts", is_flag=True, help="Print the drafts too.")
@click.option("--fresh", is_flag=True, help="Ask again, even if the same question was answered just before.")
@click.option("--dry-run", is_flag=True, help="Show calls, rounds and price; send nothing.")
@log_level
def ask(
    words: tuple[str, ...],
    preset: str | None,
    contexts: tuple[str, ...],
    on_partial: OnPartial | None,
    strict: bool,
    as_json: bool,
    drafts: bool,
    fresh: bool,
    dry_run: bool,
) -> int:
    """Ask a panel and print its answer.

    QUESTION may be `-`, or left out in a pipe: then it is read from stdin.
    """
    if len(words) > 1:
        raise click.UsageError("The question came as several words. Put it in quotes.")
    question = words[0] if words else None
    request = AskRequest(
        question_of(question, contexts, sys.stdin),
        preset,
        context_of(contexts, sys.stdin),
        on_partial=on_partial,
        fresh=fresh,
    )
    if dry_run:
        anyio.run(show_plan, request, as_json)
        return DONE
    try:
        run = anyio.run(_ask, request, writer_for(as_json=as_json, drafts=drafts))
    except KeyboardInterrupt:
        hint = f" {GOES_ON}" if valid_settings().store.enabled else ""
        click.echo(f"\nmoa-mcp: {STOPPED}{hint}", err=True)
        return INTERRUPTED
    return LACKING if strict and (run.partial or run.degraded) else DONE


async def _ask(request: AskRequest, writer: AnswerWriter) -> Run:
    settings = valid_settings()
    async with open_service() as service:
        async with _event_handler(str(request.preset or settings.default_preset), writer) as handler:
            run = await service.ask(request, handler=handler)
        writer.finish(run)
    report(run, settings.endpoints)
    return run


@asynccontextmanager
async def _event_handler(title: str, writer: AnswerWriter) -> AsyncGenerator[EventHandler]:
    """Yield the handler of the run's events: the writer, and on a terminal the live view before it."""
    if not sys.stderr.isatty():
        yield writer.on_event
        return
    # This imports rich, which is only needed on a terminal.
    from moa_mcp.cli.view.live import live_view

    async with live_view(title, yields_to=writer.writes) as view:

        def on_event(event: Event) -> None:
            # The view first: it lets go of the terminal before the writer prints.
            view.on_event(event)
            writer.on_event(event)

        yield on_event
