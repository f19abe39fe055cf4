"""The resources and their URIs: runs, drafts (as they finish) and presets."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

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

from moa_mcp.domain.errors import UserError
from moa_mcp.domain.text import fix_surrogates, one_line
from moa_mcp.server.context import Context, owner_of
from moa_mcp.server.resources import bodies
from moa_mcp.server.tools.results import changed_at
from moa_mcp.service.service import Service

JSON, MARKDOWN, YAML = "application/json", "text/markdown", "application/yaml"


@dataclass(frozen=True, slots=True)
class Page:
    """A resource, or a template if its URI contains `{…}`. `read` gets the values of these placeholders."""

    uri: str
    name: str
    title: str
    description: str
    mime_type: str
    read: Callable[..., Awaitable[str]]
    priority: float = 0.5

    @property
    def is_template(self) -> bool:
        return "{" in self.uri

    def match(self, uri: str) -> dict[str, Any] | None:
        """The values of the placeholders in `uri`. None if the URI does not belong to this page."""
        return _parse_template(self.uri).match(uri)

    def described(self, changed: str | None = None) -> dict[str, Any]:
        """The fields of the page in a list, without the URI. `changed` is the time of the last change, if known."""
        return {
            "name": self.name,
            "title": self.title,
            "description": self.description,
            "mime_type": self.mime_type,
            "annotations": Annotations(audience=["user", "assistant"], priority=self.priority, last_modified=changed),
        }


# Pages without placeholders come first, so that `latest` is not taken for a run id.
PAGES = (
    Page("moa://runs", "runs", "Runs", "Your runs, newest first, each with its URI.", JSON, bodies.runs),
    Page(
        "moa://runs/latest",
        "latest-run",
        "Latest run",
        "Your latest run: question, answer, every call. Before there is one, it says so.",
        JSON,
        bodies.latest,
        0.8,
    ),
    Page(
        "moa://runs/latest/drafts",
        "latest-drafts",
        "Drafts of the latest run",
        "What each proposer of your latest run wrote, layer by layer; drafts appear as they finish.",
        JSON,
        bodies.latest_drafts,
        0.8,
    ),
    Page("moa://presets", "presets", "Presets", "The panels that can be asked.", JSON, bodies.presets),
    Page(
        "moa://runs/{run_id}",
        "run",
        "Run",
        "One run: question, answer, every call with its model, status, tokens, price and seconds.",
        JSON,
        bodies.run,
    ),
    Page(
        "moa://runs/{run_id}/drafts",
        "drafts",
        "Drafts of a run",
        "What each proposer wrote, layer by layer, in full; drafts appear as they finish.",
        JSON,
        bodies.drafts,
        0.8,
    ),
    Page(
        "moa://runs/{run_id}/layers/{layer}/drafts/{slot}",
        "draft",
        "One draft",
        "The draft of one slot in one layer; both are counted from 1.",
        MARKDOWN,
        bodies.draft,
    ),
    Page(
        "moa://runs/{run_id}/answer",
        "answer",
        "Answer of a run",
        "The answer alone, word for word.",
        MARKDOWN,
        bodies.answer,
    ),
    Page(
        "moa://presets/{name}",
        "preset",
        "Preset",
        "The definition of one panel, as its file says it.",
        YAML,
        bodies.preset,
    ),
)


class Resources:
    """Serves the pages over one service."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def list(self, context: Context, params: PaginatedRequestParams | None) -> ListResourcesResult:
        """The fixed pages and one page per preset, with size and time of the last change."""
        owner = owner_of(context)
        latest = await self._service.latest(owner=owner)
        changed = None if latest is None else changed_at(latest)
        fixed = [await self._fixed_resource(page, owner, changed) for page in PAGES if not page.is_template]
        return ListResourcesResult(resources=[*fixed, *map(self._preset_resource, self._service.catalog.names())])

    async def _fixed_resource(self, page: Page, owner: str, changed: str | None) -> Resource:
        text = await page.read(self._service, owner)
        described = page.described(changed if page.uri.startswith("moa://runs") else None)
        return Resource(uri=page.uri, size=_size(text), **described)

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
        templates = [ResourceTemplate(uri_template=page.uri, **page.described()) for page in PAGES if page.is_template]
        return ListResourceTemplatesResult(resource_templates=templates)

    async def read(self, context: Context, params: ReadResourceRequestParams) -> ReadResourceResult:
        """One page. An unknown URI is a JSON-RPC error that contains the URI."""
        for page in PAGES:
            if (places := page.match(params.uri)) is not None:
                return await self._read(page, context, params.uri, places)
        raise _not_found_error(params.uri, f"There is no resource {one_line(params.uri)!r}. Begin with moa://runs.")

    async def _read(self, page: Page, context: Context, uri: str, places: dict[str, Any]) -> ReadResourceResult:
        try:
            words = await page.read(self._service, owner_of(context), **places)
        except UserError as error:
            raise _not_found_error(uri, str(error)) from None
        contents = TextResourceContents(uri=uri, mime_type=page.mime_type, text=fix_surrogates(words))
        return ReadResourceResult(contents=[contents])


@cache
def _parse_template(template: str) -> UriTemplate:
    return UriTemplate.parse(template)


def _size(text: str) -> int:
    return len(fix_surrogates(text).encode())


def _not_found_error(uri: str, why: str) -> MCPError:
    return MCPError(INVALID_PARAMS, fix_surrogates(why), {"uri": fix_surrogates(uri)})
