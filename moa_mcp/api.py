"""Where the parts are put together, and one of the two places that read the environment (the CLI is the other)."""

from __future__ import annotations

import os
import random
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from functools import partial

import anyio

from moa_mcp.config.settings import LiveSettings, Paths, StoreSettings
from moa_mcp.domain.errors import RunFailed
from moa_mcp.domain.model import Message, Run
from moa_mcp.domain.preset import Preset
from moa_mcp.presets.library import PresetLibrary
from moa_mcp.providers.registry import Registry
from moa_mcp.providers.run_provider import RunProviderFactory
from moa_mcp.runs.scheduler import open_scheduler
from moa_mcp.service.catalog import Catalog
from moa_mcp.service.configure.editor import ConfigEditor
from moa_mcp.service.configure.lock import config_lock
from moa_mcp.service.service import AskRequest, Service
from moa_mcp.store.base import RunStore
from moa_mcp.store.fallback import FallbackStore
from moa_mcp.store.memory import MemoryStore


@asynccontextmanager
async def open_service(environ: Mapping[str, str] | None = None) -> AsyncGenerator[Service]:
    """The whole of moa-mcp, ready to ask, for as long as the block lasts.

    `environ` holds MOA_MCP_HOME and the providers' key variables; by default the process's own. A broken
    configuration file does not keep it from opening: the defaults hold, and every run says so.

    Raises:
        InvalidConfig: MOA_MCP_HOME is no absolute path.
    """
    environ = os.environ if environ is None else environ
    paths = Paths.from_environ(environ)
    settings = LiveSettings(paths)
    library = PresetLibrary(paths.presets_folder)
    registry = Registry(settings().endpoints, environ, use_proxy_env=settings().network.use_proxy_env)
    provider_for = RunProviderFactory(registry, registry.rates, random.random)
    store = _store(paths, settings().store)
    try:
        runs_at_once = settings().limits.max_concurrent_runs
        async with open_scheduler(provider_for, store, runs_at_once, registry.is_sent) as scheduler:
            catalog = Catalog(library, settings, registry, registry.rates)
            config_folder = paths.config_file.parent
            alone = partial(config_lock, config_folder, paths.presets_folder)
            changes = ConfigEditor(paths, library, settings, registry, alone)
            yield Service(settings, catalog, changes, registry, store, scheduler)
    finally:
        with anyio.CancelScope(shield=True):
            await store.aclose()
            await registry.aclose()


def _store(paths: Paths, settings: StoreSettings) -> RunStore:
    if not settings.enabled:
        return MemoryStore()
    file = paths.data_folder / "runs.db"

    def open_sqlite() -> RunStore:
        # A server that is only asked for its tools need not load SQLite.
        from moa_mcp.store.sqlite.store import SqliteStore

        return SqliteStore(file, keep_days=settings.keep_days, max_mb=settings.max_mb)

    return FallbackStore(file, open_sqlite)


async def ask(
    question: str,
    *,
    preset: str | Preset | None = None,
    context: str | None = None,
    system: str | None = None,
    history: tuple[Message, ...] = (),
    max_cost_usd: float | None = None,
    deadline_seconds: float | None = None,
    fresh: bool = True,
) -> Run:
    """Ask a panel from Python and wait for its answer.

    `preset` is a name, or a `Preset` made by hand; without one the default of the configuration holds.
    `fresh=False` takes the answer of the last ten minutes to the same question, if there is one, or goes on with its
    run if that was interrupted, as it is when this is cancelled.

    Raises:
        UserError: the request cannot be done as asked; the message says why.
        RunFailed: no answer came; the message names each cause.
    """
    request = AskRequest(
        question,
        preset=preset,
        context=context,
        system=system,
        history=history,
        max_cost_usd=max_cost_usd,
        deadline_seconds=deadline_seconds,
        fresh=fresh,
    )
    async with open_service() as service:
        run = await service.ask(request)
    if run.answer is None:
        raise RunFailed(run.error or f"The run was {run.status}.")
    return run
