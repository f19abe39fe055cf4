"""A service whose models are scripted, for the tests of what it does with requests."""

from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import anyio

from moa_mcp.config.settings import LiveSettings, Paths
from moa_mcp.domain.model import Call
from moa_mcp.domain.preset import Aggregator, Preset, Proposer
from moa_mcp.presets.library import PresetLibrary
from moa_mcp.providers.base import Provider
from moa_mcp.providers.registry import Registry
from moa_mcp.runs.scheduler import open_scheduler
from moa_mcp.service.catalog import Catalog
from moa_mcp.service.configure.editor import ConfigEditor
from moa_mcp.service.service import Service
from moa_mcp.store.base import RunStore

PRESET = Preset(
    name="three", layers=3, proposers=(Proposer(model="demo/p", samples=2),), aggregator=Aggregator(model="demo/agg")
)

PANEL = "{proposers: [lab/a, lab/b], layers: 2, aggregator: lab/agg}\n"


def reply_to(call: Call) -> str:
    return f"<{call.id}>"


@asynccontextmanager
async def service_of(folder: Path, provider: Provider, store: RunStore) -> AsyncGenerator[Service]:
    """A service over `provider` and `store`; leaving it is the end of its server."""
    home = Paths.in_folder(folder)
    settings, library = LiveSettings(home), PresetLibrary(home.presets_folder)
    registry = Registry(settings().endpoints, {})
    with anyio.fail_after(20):
        async with aclosing(registry), open_scheduler(lambda run: provider, store) as scheduler:
            catalog, changes = Catalog(library, settings, registry), ConfigEditor(home, library, settings, registry)
            yield Service(settings, catalog, changes, registry, store, scheduler)


def write_panel(folder: Path, base_url: str, config: str = "") -> int:
    """Configure a panel at `base_url` as the default, and say how many calls a run of it makes.

    `config` is what else config.yaml is to say.
    """
    (folder / "presets").mkdir(parents=True)
    (folder / "presets" / "panel.yaml").write_text(PANEL, encoding="utf-8")
    lines = f"default_preset: panel\nproviders:\n  lab: {{base_url: '{base_url}'}}\n"
    (folder / "config.yaml").write_text(lines + config, encoding="utf-8")
    return 3
