"""A server over scripted models, and a client of either era that is connected to it in memory."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import pytest
from jsonschema import Draft202012Validator
from mcp import Client
from mcp.types import CallToolResult, ResourceLink, TextContent

from moa_mcp.config.settings import LiveSettings, Paths
from moa_mcp.presets.library import PresetLibrary
from moa_mcp.providers.base import Provider
from moa_mcp.providers.registry import Registry
from moa_mcp.runs.scheduler import open_scheduler
from moa_mcp.server.build import build_server
from moa_mcp.server.tools.registry import TOOLS
from moa_mcp.service.catalog import Catalog
from moa_mcp.service.configure.editor import ConfigEditor
from moa_mcp.service.service import Service
from moa_mcp.store.base import RunStore
from moa_mcp.store.memory import MemoryStore

CONFIG = """\
default_preset: two
providers:
  lab: {base_url: "http://127.0.0.1:9/v1", api_key_env: LAB_KEY}
  far: {base_url: "http://127.0.0.1:9/v1", api_key_env: FAR_KEY}
"""
PRESETS = {
    "two": "{title: Two layers, proposers: [{model: lab/p, samples: 2}], layers: 2, aggregator: lab/agg}",
    "locked": "{title: Locked, proposers: [far/p], layers: 2, aggregator: far/agg}",
}


@dataclass(frozen=True, slots=True)
class Result:
    """The result of a tool: its text, its facts, and the URIs that it links to."""

    text: str
    facts: dict[str, Any]
    links: list[str]
    is_error: bool


@dataclass(frozen=True, slots=True)
class Served:
    """A service, and a client of the server over it."""

    service: Service
    client: Client

    async def call(self, tool: str, **arguments: Any) -> Result:
        """Call a tool; the facts that it tells keep to the schema that it promises."""
        return _told(tool, await self.client.call_tool(tool, arguments))

    async def ask(self, **arguments: Any) -> Result:
        """Call moa_ask."""
        return await self.call("moa_ask", **arguments)


Serve = Callable[..., AbstractAsyncContextManager[Served]]


@pytest.fixture(params=["legacy", "auto"], ids=["handshake", "2026-07-28"])
def mode(request: pytest.FixtureRequest) -> str:
    """How a client connects in the two eras of the protocol: with a handshake, and without."""
    return str(request.param)


@pytest.fixture
def home(tmp_path: Path) -> Paths:
    """A configuration with a provider whose key is set (LAB_KEY) and one whose key is missing."""
    home = Paths.in_folder(tmp_path / "home")
    home.presets_folder.mkdir(parents=True)
    home.config_file.write_text(CONFIG, encoding="utf-8")
    for name, text in PRESETS.items():
        (home.presets_folder / f"{name}.yaml").write_text(text, encoding="utf-8")
    return home


@pytest.fixture
def serve(home: Paths, mode: str) -> Serve:
    """Serve runs whose models are `provider`; what else is given goes to the client."""

    @asynccontextmanager
    async def serving(provider: Provider, store: RunStore | None = None, **options: Any) -> AsyncGenerator[Served]:
        settings, library = LiveSettings(home), PresetLibrary(home.presets_folder)
        registry = Registry(settings().endpoints, {"LAB_KEY": "sk-canary"})
        catalog = Catalog(library, settings, registry)
        changes = ConfigEditor(home, library, settings, registry)
        store = store or MemoryStore()
        with anyio.fail_after(20):
            async with aclosing(registry), open_scheduler(lambda run: provider, store) as scheduler:
                service = Service(settings, catalog, changes, registry, store, scheduler)
                async with Client(build_server(service), mode=mode, **options) as client:
                    yield Served(service, client)

    return serving


def _told(tool: str, result: CallToolResult) -> Result:
    [text] = [block.text for block in result.content if isinstance(block, TextContent)]
    links = [block.uri for block in result.content if isinstance(block, ResourceLink)]
    facts: dict[str, Any] = result.structured_content or {}
    if facts or not result.is_error:
        schema: Any = Draft202012Validator(TOOLS[tool].listed().output_schema or {})
        schema.validate(facts)
    return Result(text, facts, links, result.is_error)
