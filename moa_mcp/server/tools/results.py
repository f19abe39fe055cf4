"""A run as the result of a tool, with links to the rest of it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeVar

import anyio.to_thread
from mcp.types import Annotations, CallToolResult, ResourceLink

from moa_mcp.domain.model import Draft, Run
from moa_mcp.server.wire import tool_result
from moa_mcp.views import run as run_view
from moa_mcp.views.inert import inert

LONG = 64 * 1024
"""Texts of a run up to this many characters are rendered on the event loop; more would block other requests."""

View = TypeVar("View")


async def rendered(run: Run, view: Callable[[], View]) -> View:
    """Return `view()`. For a run with long texts it runs in a thread, so that other requests are served."""
    texts = [record.outcome.text for record in run.calls if isinstance(record.outcome, Draft)]
    if sum(map(len, (run.answer or "", *texts))) <= LONG:
        return view()
    return await anyio.to_thread.run_sync(view)


def run_result(run: Run, *, drafts: bool) -> CallToolResult:
    """The tool result of a run. A failed run is an error result that names each cause, also with all facts."""
    run = inert(run, drafts=drafts)
    extent = run_view.brief(run)
    facts = run_view.result(run, drafts=drafts, extent=extent)
    links = _links(run, facts["resources"])
    return tool_result(
        run_view.as_markdown(run, drafts=drafts, extent=extent), facts, links, is_error=run.status == "failed"
    )


def changed_at(run: Run) -> str:
    """The time of the last change of a run, in ISO 8601."""
    return datetime.fromtimestamp(run.created_at + run.seconds, UTC).isoformat(timespec="milliseconds")


def _links(run: Run, resources: run_view.Resources) -> list[ResourceLink]:
    dated = Annotations(last_modified=changed_at(run))
    return [
        ResourceLink(
            uri=resources["run"],
            name=f"run {run.run_id}",
            title="The run",
            description="The question, the answer and every call.",
            mime_type="application/json",
            annotations=dated,
        ),
        ResourceLink(
            uri=resources["drafts"],
            name=f"drafts of {run.run_id}",
            title="The drafts",
            description="What each proposer wrote, layer by layer.",
            mime_type="application/json",
            annotations=dated,
        ),
    ]
