"""A run as the result of a tool, with links to the rest of it."""

from __future__ import annotations

from mcp.types import CallToolResult, ResourceLink

from moa_mcp import views
from moa_mcp.model import Run
from moa_mcp.server.wire import told


def run_reply(run: Run, *, drafts: bool) -> CallToolResult:
    """What is told of a run. One that failed is an error, which names each cause, and has its facts too."""
    facts = views.result(run, drafts=drafts)
    links = _links(run, facts["resources"])
    return told(views.as_markdown(run, drafts=drafts), facts, links, is_error=run.status == "failed")


def _links(run: Run, resources: views.Resources) -> list[ResourceLink]:
    return [
        ResourceLink(
            uri=resources["run"],
            name=f"run {run.run_id}",
            title="The run",
            description="The question, the answer and every call.",
            mime_type="application/json",
        ),
        ResourceLink(
            uri=resources["drafts"],
            name=f"drafts of {run.run_id}",
            title="The drafts",
            description="What each proposer wrote, layer by layer.",
            mime_type="application/json",
        ),
    ]
