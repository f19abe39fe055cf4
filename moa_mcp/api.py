"""Where the parts are put together, and one of the two places that read the environment (the CLI is the other)."""

from __future__ import annotations

import asyncio  # noqa: TID251 - see `_events`
import os
import random
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from functools import partial
from inspect import iscoroutinefunction
from math import inf
from types import MappingProxyType, NoneType, TracebackType
from typing import Any, Self, TypedDict, Unpack, get_args
from urllib.parse import urlsplit

import anyio
from anyio.from_thread import start_blocking_portal

from moa_mcp.config.settings import LiveSettings, Paths, StoreSettings
from moa_mcp.domain.errors import InvalidRequest, RunFailed, sort_by_closeness
from moa_mcp.domain.model import Message, Output, Run, Speaker
from moa_mcp.domain.preset import Preset
from moa_mcp.domain.stores import STORES, StoreOptions
from moa_mcp.domain.text import one_line
from moa_mcp.presets.library import PresetLibrary, is_name
from moa_mcp.providers.base import Provider
from moa_mcp.providers.registry import Registry
from moa_mcp.providers.run_provider import RunProviderFactory
from moa_mcp.runs.events import Event, EventHandler, RunEnded, stamped
from moa_mcp.runs.scheduler import open_scheduler
from moa_mcp.service.catalog import Catalog
from moa_mcp.service.configure.editor import ConfigEditor
from moa_mcp.service.configure.lock import config_lock
from moa_mcp.service.service import AskRequest, Service
from moa_mcp.store.base import RunStore


@asynccontextmanager
async def open_service(
    environ: Mapping[str, str] | None = None, *, providers: Mapping[str, Provider] = MappingProxyType({})
) -> AsyncGenerator[Service]:
    """The whole of moa-mcp, ready to ask, for as long as the block lasts.

    `environ` holds MOA_MCP_HOME and the providers' key variables; by default the process's own. `providers`
    are those that a program brings along, by name. A broken
    configuration file does not keep it from opening: the defaults hold, and every run says so.

    Raises:
        InvalidConfig: MOA_MCP_HOME is no absolute path.
    """
    environ = os.environ if environ is None else environ
    paths = Paths.from_environ(environ)
    settings = LiveSettings(paths)
    library = PresetLibrary(paths.presets_folder)
    registry = Registry(settings().endpoints, environ, use_proxy_env=settings().network.use_proxy_env, own=providers)
    settings.on_change(lambda changed: registry.use(changed.endpoints))
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


class AskOptions(TypedDict, total=False):
    """What can be said beside a question.

    `preset` is a name, or a `Preset` made by hand; without one the panel's, else the default of the configuration.
    `context` is background text for the question, `system` goes before it as system text, `history` are the turns
    before it; `continue_from` is a run id, whose question and answer become the history. `output="guidance"` gives
    the drafts for a reader who writes the answer. `max_cost_usd` (US dollars) and `deadline_seconds` can only
    lower the limits of the configuration. `fresh=False` takes the answer of the last ten minutes to the same question
    if there is one, or goes on with its run if that was interrupted; by default a question is always asked anew.
    """

    preset: str | Preset | None
    context: str | None
    system: str | None
    history: Sequence[Message]
    continue_from: str | None
    output: Output
    max_cost_usd: float | None
    deadline_seconds: float | None
    fresh: bool


class Panel:
    """A panel of models that keeps its store and its connections open over many questions.

        async with Panel("moa-lite") as panel:
            run = await panel.ask("Which of these proofs is wrong?")
            async for event in panel.stream("And why?"):
                ...

    `preset` is what is asked where a question names none. `providers` are providers of one's own, by the name that
    their models begin with: any object with `async complete(call, on_text) -> Draft`. They stand before declared
    providers of the same name. Limits such as `max_concurrency` hold over all questions to one panel.

    Raises:
        UserError: an argument is not usable; the message says why.
    """

    def __init__(self, preset: str | Preset | None = None, *, providers: Mapping[str, Provider] | None = None) -> None:
        self._preset = _checked("preset", preset)
        self._providers = _checked_providers(providers)
        self._open = AsyncExitStack()
        self._service: Service | None = None

    async def __aenter__(self) -> Self:
        """Open the store. Raises UserError: the panel is open, or MOA_MCP_HOME is no absolute path."""
        if self._service is not None:
            raise InvalidRequest("This panel is open already. Make another one, or use this one as it is.")
        self._service = await self._open.enter_async_context(open_service(providers=self._providers))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        """Stop the runs that still go on, and close everything."""
        self._service = None
        return await self._open.__aexit__(kind, error, trace)

    async def ask(self, question: str, **options: Unpack[AskOptions]) -> Run:
        """Ask, wait for the end, and return the run.

        Raises:
            UserError: the request cannot be done as asked; the message says why.
            RunFailed: no answer came; the message names each cause, and `run` is the run with what was paid for.
        """
        service, request = self._ready(question, options)
        run = await service.ask(request)
        if run.answer is None:
            raise RunFailed(run.error or f"The run was {run.status}.", run=run)
        return run

    def stream(self, question: str, **options: Unpack[AskOptions]) -> AsyncGenerator[Event]:
        """Ask, and give each event of the run as it happens (see `moa_mcp.events`).

        The last one is `RunEnded`, whose `run` has the answer, or the error if there is none. Leaving the loop early
        stops the calls; the run can be gone on with. Raises UserError as `ask` does.
        """
        service, request = self._ready(question, options)
        return _events(lambda handler: service.ask(request, handler=handler))

    def _ready(self, question: str, options: AskOptions) -> tuple[Service, AskRequest]:
        if self._service is None:
            raise InvalidRequest("This panel is not open. Use it as `async with Panel(...) as panel:`.")
        request = _request(question, options)
        return self._service, request if request.preset is not None else replace(request, preset=self._preset)


async def ask(question: str, **options: Unpack[AskOptions]) -> Run:
    """Ask a panel and wait for its answer; for several questions, a `Panel` keeps its connections.

    Raises:
        UserError: the request cannot be done as asked; the message says why.
        RunFailed: no answer came; the message names each cause, and `run` is the run with what was paid for.
    """
    _request(question, options)
    async with Panel() as panel:
        return await panel.ask(question, **options)


def ask_sync(question: str, **options: Unpack[AskOptions]) -> Run:
    """`ask` for programs without an event loop. It raises what `ask` raises.

    Where a loop is running (a notebook), the question is asked in a thread; the running loop waits meanwhile, so
    that `await ask(...)` is better there.
    """
    asking = partial(ask, question, **options)
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return anyio.run(asking)
    with start_blocking_portal() as portal:
        return portal.call(asking)


def stream(question: str, **options: Unpack[AskOptions]) -> AsyncGenerator[Event]:
    """`Panel.stream` for one question."""
    _request(question, options)

    async def asking(handler: EventHandler) -> Run:
        async with open_service() as service:
            return await service.ask(_request(question, options), handler=handler)

    return _events(asking)


async def _events(asking: Callable[[EventHandler], Awaitable[Run]]) -> AsyncGenerator[Event]:
    """The events of a run that is asked for in a task of its own, the end of the run as the last one.

    A generator may be left at any `yield`, and is then closed in another task: it must hold no cancel scope open
    there, so this one task is not one of a task group.
    """
    send, receive = anyio.create_memory_object_stream[Event](inf)

    def on_event(event: Event) -> None:
        if not isinstance(event, RunEnded):
            send.send_nowait(event)

    async def ask_and_end() -> None:
        with send:
            run = await asking(on_event)
            send.send_nowait(stamped(RunEnded(run), run))

    task = asyncio.create_task(ask_and_end())
    try:
        with receive:
            async for event in receive:
                yield event
        await task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


_KINDS: Mapping[str, tuple[tuple[type, ...], str]] = {
    "preset": ((str, Preset, NoneType), "the name of a preset, or a Preset"),
    "context": ((str, NoneType), "a text"),
    "system": ((str, NoneType), "a text"),
    "continue_from": ((str, NoneType), "the id of a run"),
    "output": ((str,), "'answer' or 'guidance'"),
    "max_cost_usd": ((int, float, NoneType), "a number of US dollars above 0"),
    "deadline_seconds": ((int, float, NoneType), "a number of seconds above 0, 3600 at most"),
    "fresh": ((bool,), "True or False"),
    "history": ((list, tuple), "a list of Message(speaker, text)"),
}
"""What each option may be, and how that is called."""


def _request(question: object, options: AskOptions) -> AskRequest:
    """The request that arguments make. Raises InvalidRequest: one is not usable."""
    if not isinstance(question, str):
        raise InvalidRequest(f"The question is {_described(question)}. It has to be a text (str).")
    if unknown := next((name for name in options if name not in _KINDS), None):
        nearest = ", ".join(sort_by_closeness(unknown, _KINDS))
        raise InvalidRequest(f"There is no argument {unknown!r}. Known, nearest first: {nearest}.")
    checked: dict[str, Any] = {"fresh": True, **{name: _checked(name, value) for name, value in options.items()}}
    if "history" in checked:
        checked["history"] = tuple(map(_checked_turn, checked["history"]))
    return AskRequest(question, **checked)


def _checked(name: str, value: Any) -> Any:
    """The value of an option. Raises InvalidRequest: it is not of its kind, or out of range."""
    kinds, expected = _KINDS[name]
    fits = isinstance(value, kinds) and (bool in kinds or not isinstance(value, bool))
    if fits and isinstance(value, int | float) and not isinstance(value, bool):
        fits = 0 < value <= (3600 if name == "deadline_seconds" else sys.float_info.max)
    if name == "output":
        fits = value in get_args(Output)
    if not fits:
        raise InvalidRequest(f"{name} is {_described(value)}. It has to be {expected}.")
    return value


def _checked_turn(turn: Any) -> Any:
    if not (isinstance(turn, Message) and turn.speaker in get_args(Speaker)) or type(turn.text) is not str:
        speakers = ", ".join(get_args(Speaker))
        raise InvalidRequest(
            f"history has {_described(turn)}. It has to be a list of Message(speaker, text), speaker one of {speakers}."
        )
    return turn


def _checked_providers(providers: Any) -> Mapping[str, Provider]:
    if providers is None:
        return {}
    if not hasattr(providers, "items"):
        raise InvalidRequest(f"providers is {_described(providers)}. It has to be a dict of names and providers.")
    for name, provider in providers.items():
        if not isinstance(name, str) or not is_name(name):
            raise InvalidRequest(f"The provider's name {name!r} is not one of lower-case letters, digits, - and _.")
        if not iscoroutinefunction(getattr(provider, "complete", None)):
            raise InvalidRequest(f"Provider {name!r} has no method `async complete(call, on_text) -> Draft`.")
    return dict(providers)


def _described(value: object) -> str:
    shown = one_line(repr(value), 60)
    return "None" if value is None else f"{shown} ({type(value).__name__})"
