"""`moa-mcp runs`: lists the stored runs, shows one in full, and deletes them."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import datetime

import anyio
import click

from moa_mcp.api import open_service
from moa_mcp.cli.config import valid_settings
from moa_mcp.cli.group import async_command
from moa_mcp.cli.logs import log_level
from moa_mcp.cli.view.table import table
from moa_mcp.domain.errors import InvalidRequest, UnknownRun
from moa_mcp.domain.model import Run
from moa_mcp.domain.text import one_line, strip_invisible
from moa_mcp.service.service import LOCAL, RUNS_LISTED, Service
from moa_mcp.views.notice import with_notice
from moa_mcp.views.run import drafts_markdown, format_calls, format_run_cost

_MAX_QUESTION_CHARS = 60


@click.group(invoke_without_command=True)
@click.option("--limit", type=click.IntRange(min=1), default=RUNS_LISTED, show_default=True, help="List so many.")
@log_level
@click.pass_context
def runs(ctx: click.Context, limit: int) -> None:
    """List the stored runs; `show` one, `rm` one, `prune` the old ones."""
    if ctx.invoked_subcommand is None:
        anyio.run(_list, limit)


@runs.command()
@click.argument("run_id")
@click.option("--drafts", is_flag=True, help="Print every draft in full, too.")
@async_command
async def show(run_id: str, drafts: bool) -> None:
    """Show the question and answer of a run, and what it cost."""
    async with _service() as service:
        run = await service.scheduler.get_run(LOCAL, run_id)
    context = f"Context: {run.task.context}\n\n" if run.task.context else ""
    shown = f"{drafts_markdown(run)}\n" if drafts else ""
    text = with_notice(run, run.answer or run.error or f"The run is {run.status} and has no answer.")
    facts = format_calls(run, drafts_at=f"moa-mcp runs show {run_id} --drafts")
    click.echo(strip_invisible(f"{context}Question: {run.task.question}\n\n{shown}{text}\n\n{facts}"))


@runs.command()
@click.argument("run_id")
@async_command
async def rm(run_id: str) -> None:
    """Forget a run with its drafts."""
    async with _service() as service:
        await service.remove(run_id)
    click.echo(strip_invisible(f"Run {run_id} is forgotten."))


@runs.command()
@async_command
async def prune() -> None:
    """Forget the runs that are older, or more, than the settings keep."""
    settings = valid_settings().store
    async with _service() as service:
        deleted = await service.store.prune()
    kept = f"{settings.keep_days} days and {settings.max_mb} MB are kept"
    click.echo(f"{deleted} {'run is' if deleted == 1 else 'runs are'} forgotten; {kept}.")


@asynccontextmanager
async def _service() -> AsyncGenerator[Service]:
    """Open the service. An unknown run id gets an error message that names the command `moa-mcp runs`."""
    valid_settings()
    async with open_service() as service:
        try:
            yield service
        except UnknownRun as error:
            raise InvalidRequest(f"There is no run {error.run_id!r}. `moa-mcp runs` lists the stored runs.") from None


async def _list(limit: int) -> None:
    async with _service() as service:
        rows = [_row(run) for run in await service.runs(limit=limit)]
        total = await service.store.count(LOCAL)
    if not rows:
        click.echo("No runs are stored yet. Ask one: moa-mcp ask QUESTION", err=True)
        return
    head = ("RUN", "WHEN", "STATUS", "PRESET", "CALLS", "COST", "QUESTION")
    click.echo(strip_invisible("\n".join(table([head, *rows]))))
    if total > len(rows):
        click.echo(f"The newest {len(rows)} of {total} runs. Older ones: moa-mcp runs --limit {total}", err=True)
    click.echo("More on one of them: moa-mcp runs show RUN", err=True)


def _row(run: Run) -> tuple[str, ...]:
    when = datetime.fromtimestamp(run.created_at).astimezone().strftime("%Y-%m-%d %H:%M")
    question = one_line(run.task.question, _MAX_QUESTION_CHARS)
    return run.run_id, when, run.status, run.preset, str(run.calls_made), format_run_cost(run), question
