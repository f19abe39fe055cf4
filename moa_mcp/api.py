"""Where the parts are put together, and one of the two places that read the environment (the CLI is the other)."""

from __future__ import annotations

import os
import random
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from urllib.parse import urlsplit

import anyio

from moa_mcp.config.settings import LiveSettings, Paths, StoreSettings
from moa_mcp.domain.errors import RunFailed
from moa_mcp.domain.model import Message, Run
from moa_mcp.domain.preset import Preset
from moa_mcp.domain.stores import STORES, StoreOptions
from moa_mcp.presets.library import PresetLibrary
from moa_mcp.providers.registry import Registry
from moa_mcp.providers.run_provider import RunProviderFactory
from moa_mcp.runs.scheduler import open_scheduler
from moa_mcp.service.catalog import Catalog
from moa_mcp.service.configure.editor import ConfigEditor
from moa_mcp.service.configure.lock import config_lock
from moa_mcp.service.service import AskRequest, Service
from moa_mcp.store.base import RunStore


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
    url = settings.url if settings.enabled else "memory:"
    options = StoreOptions(url, paths.data_folder, settings.keep_days, settings.max_mb)
    store: RunStore = STORES.get(urlsplit(url).scheme)(options)
    return store


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
