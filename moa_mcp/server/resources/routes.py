"""The resources: runs, drafts (as they finish) and presets as documents, each with its URI."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from mcp.shared.exceptions import MCPError
from mcp.shared.uri_template import UriTemplate
from mcp.types import (
    INVALID_PARAMS,
    Annotations,
    ListResourcesResult,
    ListResourceTemplatesResult,
    PaginatedRequestParams,
    ReadResourceRequestParams,
    ReadResourceResult,
    Resource,
    ResourceTemplate,
    TextResourceContents,
)

from moa_mcp.domain.errors import InvalidRequest, UserError
from moa_mcp.domain.model import CallRecord, Run
from moa_mcp.domain.text import cleaned, fix_surrogates, one_line
from moa_mcp.server.context import Context, owner_of
from moa_mcp.server.tools.list_presets import MORE, short_list
from moa_mcp.server.tools.results import changed_at, rendered
from moa_mcp.service.service import Service
from moa_mcp.views import run as run_view
from moa_mcp.views.inert import inert
from moa_mcp.views.notice import with_notice

JSON, MARKDOWN, YAML = "application/json", "text/markdown", "application/yaml"

Read = TypeVar("Read", bound=Callable[..., Awaitable[str]])


@dataclass(frozen=True, slots=True)
class Page:
    """A resource, or a template if its URI contains `{…}`. `read` gets the values of these placeholders."""

    template: UriTemplate
    name: str
    title: str
    description: str
    mime_type: str
    priority: float
    read: Callable[..., Awaitable[str]]

    def described(self, changed: str | None = None) -> dict[str, Any]:
        """The fields of the page in a list, without the URI. `changed` is the time of the last change, if known."""
        return {
            "name": self.name,
            "title": self.title,
            "description": self.description,
            "mime_type": self.mime_type,
            "annotations": Annotations(audience=["user", "assistant"], priority=self.priority, last_modified=changed),
        }


PAGES: list[Page] = []
"""All pages. Those without placeholders come first, so that `latest` is not taken for a run id."""


def page(
    uri: str, name: str, title: str, description: str, mime_type: str = JSON, priority: float = 0.5
) -> Callable[[Read], Read]:
    """Add a page with the decorated function as its `read`: it gets the service, the owner and the placeholders."""

    def add(read: Read) -> Read:
        PAGES.append(Page(UriTemplate.parse(uri), name, title, description, mime_type, priority, read))
        return read

    return add


@page("moa://runs", "runs", "Runs", "Your runs, newest first, each with its URI.")
async def runs(service: Service, owner: str) -> str:
    """The owner's newest runs, newest first, and the total number."""
    shown = [_summary(run) for run in await service.runs(owner=owner)]
    total = await service.store.count(owner)
    return _json({"runs": shown, "total": total, **(_OLDER if total > len(shown) else {})})


@page(
    "moa://runs/latest",
    "latest-run",
    "Latest run",
    "Your latest run: question, answer, every call. Before there is one, it says so.",
    priority=0.8,
)
async def latest(service: Service, owner: str) -> str:
    """The owner's latest run, or an explanation if there is none."""
    run = await service.latest(owner=owner)
    return (
        _json(_NO_RUN)
        if run is None
        else await rendered(run, lambda: _json(run_view.as_json(inert(run, drafts=False))))
    )


@page(
    "moa://runs/latest/drafts",
    "latest-drafts",
    "Drafts of the latest run",
    "What each proposer of your latest run wrote, layer by layer; drafts appear as they finish.",
    priority=0.8,
)
async def latest_drafts(service: Service, owner: str) -> str:
    """The drafts of the owner's latest run, or an explanation if there is no run."""
    run = await service.latest(owner=owner)
    return _json({**_NO_RUN, "drafts": []}) if run is None else await rendered(run, lambda: _json(_drafts(run)))


@page("moa://presets", "presets", "Presets", "The panels that can be asked.")
async def presets(service: Service, owner: str) -> str:
    """All presets as a short list."""
    found = short_list(await service.catalog.entries())
    more = {"left_out": found.left_out, "more": f"moa_list_presets with {MORE}."} if found.left_out else {}
    return _json({"presets": found.rows, **more})


@page(
    "moa://runs/{run_id}",
    "run",
    "Run",
    "One run: question, answer, every call with its model, status, tokens, price and seconds.",
)
async def run(service: Service, owner: str, run_id: str) -> str:
    """A run with all its facts. Raises UnknownRun."""
    found = await service.scheduler.get_run(owner, run_id)
    return await rendered(found, lambda: _run(found))


@page(
    "moa://runs/{run_id}/drafts",
    "drafts",
    "Drafts of a run",
    "What each proposer wrote, layer by layer, in full; drafts appear as they finish.",
    priority=0.8,
)
async def drafts(service: Service, owner: str, run_id: str) -> str:
    """All drafts of a run so far, in full. Raises UnknownRun."""
    found = await service.scheduler.get_run(owner, run_id)
    return await rendered(found, lambda: _json(_drafts(found)))


@page(
    "moa://runs/{run_id}/layers/{layer}/drafts/{slot}",
    "draft",
    "One draft",
    "The draft of one slot in one layer; both are counted from 1.",
    MARKDOWN,
)
async def draft(service: Service, owner: str, run_id: str, layer: str, slot: str) -> str:
    """One draft of a run. Raises UnknownRun, and InvalidRequest if there is no such draft yet."""
    found = await service.scheduler.get_run(owner, run_id)
    shown = await rendered(found, lambda: inert(found))
    for record in shown.drafts:
        if (str(record.call.layer), str(record.call.slot)) == (layer, slot):
            return run_view.draft_markdown(record)
    raise InvalidRequest(
        f"Run {run_id} has no draft in layer {layer}, slot {slot}{_yet_if_running(found)}. "
        f"What there is: moa://runs/{run_id}/drafts."
    )


@page(
    "moa://runs/{run_id}/answer",
    "answer",
    "Answer of a run",
    "The answer alone, below what it lacks, if anything.",
    MARKDOWN,
)
async def answer(service: Service, owner: str, run_id: str) -> str:
    """Only the answer of a run, or the reason if it has none. Raises UnknownRun."""
    found = await service.scheduler.get_run(owner, run_id)
    shown = await rendered(found, lambda: inert(found, drafts=False))
    if shown.answer is not None:
        return with_notice(shown, shown.answer)
    return f"*No answer{_yet_if_running(found)}: the run is {found.status}.* {found.error or ''}".rstrip()


@page("moa://presets/{name}", "preset", "Preset", "The definition of one panel, as its file says it.", YAML)
async def preset(service: Service, owner: str, name: str) -> str:
    """The text of a preset's file. Raises UnknownPreset, and InvalidPreset if the file is not a preset."""
    return service.catalog.text(name)


class Resources:
    """Serves the pages over one service."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def list(self, context: Context, params: PaginatedRequestParams | None) -> ListResourcesResult:
        """The fixed pages and one page per preset, with size and time of the last change."""
        owner = owner_of(context)
        newest = await self._service.latest(owner=owner)
        changed = None if newest is None else changed_at(newest)
        resources: list[Resource] = []
        for one in PAGES:
            if not one.template.variables:
                uri, size = str(one.template), _size(await one.read(self._service, owner))
                described = one.described(changed if uri.startswith("moa://runs") else None)
                resources.append(Resource(uri=uri, size=size, **described))
        resources.extend(map(self._preset_resource, self._service.catalog.names()))
        return ListResourcesResult(resources=resources)

    def _preset_resource(self, name: str) -> Resource:
        try:
            size = _size(self._service.catalog.text(name))
        except UserError:
            size = None  # the file cannot be read; reading the resource returns the reason
        return Resource(
            uri=f"moa://presets/{name}",
            name=f"preset-{name}",
            title=f"Preset {name}",
            description="The definition of this panel, as its file says it.",
            mime_type=YAML,
            size=size,
        )

    async def templates(self, context: Context, params: PaginatedRequestParams | None) -> ListResourceTemplatesResult:
        """The templates: one page for each run, draft or preset."""
        templates = [
            ResourceTemplate(uri_template=str(one.template), **one.described())
            for one in PAGES
            if one.template.variables
        ]
        return ListResourceTemplatesResult(resource_templates=templates)

    async def read(self, context: Context, params: ReadResourceRequestParams) -> ReadResourceResult:
        """One page. An unknown URI is a JSON-RPC error that contains the URI."""
        uri = params.uri
        for one in PAGES:
            if (places := one.template.match(uri)) is not None:
                try:
                    text = await one.read(self._service, owner_of(context), **places)
                except UserError as error:
                    raise _not_found_error(uri, str(error)) from None
                contents = TextResourceContents(uri=uri, mime_type=one.mime_type, text=fix_surrogates(text))
                return ReadResourceResult(contents=[contents])
        raise _not_found_error(uri, f"There is no resource {one_line(uri)!r}. Begin with moa://runs.")


_OLDER: Mapping[str, Any] = {
    "older": "Only the newest runs are listed. Any other is read by its id: moa://runs/RUN_ID. "
    "In a terminal, `moa-mcp runs --limit N` lists more."
}

_NO_RUN: Mapping[str, Any] = {
    "run_id": None,
    "status": "none",
    "explanation": "Nothing was asked yet. Call moa_ask; its run will be here, its drafts as they finish.",
}


def _summary(run: Run) -> dict[str, Any]:
    return {
        "run_id": run.run_id,
        "status": run.status,
        "preset": run.preset,
        "question": one_line(run.task.question, 120),
        "created_at": run.created_at,
        "seconds": round(run.seconds, 3),
        "calls_made": run.calls_made,
        "cost_usd": run_view.round_cost(run.cost_usd),
        "degraded": run.degraded,
        "partial": run.partial,
        "uri": f"moa://runs/{run.run_id}",
    }


def _run(run: Run) -> str:
    return _json(run_view.as_json(inert(run, drafts=False)))


def _drafts(run: Run) -> dict[str, Any]:
    drafts = [_draft(run, record) for record in inert(run).drafts]
    return {"run_id": run.run_id, "status": run.status, "layers": run.layers, "drafts": drafts}


def _draft(run: Run, record: CallRecord) -> dict[str, Any]:
    place = f"layers/{record.call.layer}/drafts/{record.call.slot}"
    return {**run_view.draft_text(record), "error": record.error, "uri": f"moa://runs/{run.run_id}/{place}"}


def _yet_if_running(run: Run) -> str:
    return " yet" if run.status == "running" else ""


def _json(facts: Mapping[str, Any]) -> str:
    return json.dumps(cleaned(facts), ensure_ascii=False, indent=2)


def _size(text: str) -> int:
    return len(fix_surrogates(text).encode())


def _not_found_error(uri: str, why: str) -> MCPError:
    return MCPError(INVALID_PARAMS, fix_surrogates(why), {"uri": fix_surrogates(uri)})
