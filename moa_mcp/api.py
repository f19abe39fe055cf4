"""Builds the service from its parts, and offers the Python API.

Only this module and the CLI read environment variables.
"""

from __future__ import annotations

import asyncio  # noqa: TID251 - see `_stream_events`
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
from moa_mcp.domain.message import Speaker
from moa_mcp.domain.model import Message, Output, Run
from moa_mcp.domain.preset import OnPartial, Preset
from moa_mcp.domain.stores import STORES, StoreOptions
from moa_mcp.domain.text import one_line
from moa_mcp.presets.library import PresetLibrary, is_name
from moa_mcp.providers.base import Provider
from moa_mcp.providers.registry import Registry
from moa_mcp.providers.run_provider import RunProvider, RunProviderFactory
from moa_mcp.providers.wrappers.adapting import ModelForms
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
    """Build the service, keep it open while the block runs, and close it at the end.

    `environ` holds MOA_MCP_HOME and the providers' key variables; the default is the environment of the process.
    `providers` are the caller's own providers, by name. If the configuration file is broken, the service still opens:
    it uses the default settings, and every run has a note about it.

    Raises:
        InvalidConfig: MOA_MCP_HOME is not an absolute path.
    """
    environ = os.environ if environ is None else environ
    paths = Paths.from_environ(environ)
    settings = LiveSettings(paths)
    library = PresetLibrary(paths.presets_folder)
    registry = Registry(settings().endpoints, environ, use_proxy_env=settings().network.use_proxy_env, own=providers)
    settings.on_change(lambda changed: registry.use(changed.endpoints))
    forms = ModelForms()

    def provider_for(run: Run) -> RunProvider:
        endpoints = registry.snapshot()  # a run keeps the providers that it began with
        return RunProviderFactory(endpoints, endpoints.rates, random.random, forms)(run)

    store = _open_store(paths, settings().store)
    try:
        runs_at_once = settings().limits.max_concurrent_runs
        async with open_scheduler(provider_for, store, runs_at_once, registry.is_sent) as scheduler:
            catalog = Catalog(library, settings, registry, registry.rates)
            config_folder = paths.config_file.parent
            lock = partial(config_lock, config_folder, paths.presets_folder)
            changes = ConfigEditor(paths, library, settings, registry, lock)
            yield Service(settings, catalog, changes, registry, store, scheduler)
    finally:
        # The scheduler has ended its runs by now. The shield lets the store write and close even if we are cancelled.
        with anyio.CancelScope(shield=True):
            await store.aclose()
            await registry.aclose()


def _open_store(paths: Paths, settings: StoreSettings) -> RunStore:
    url = settings.url if settings.enabled else "memory:"
    options = StoreOptions(url, paths.data_folder, settings.keep_days, settings.max_mb)
    store: RunStore = STORES.get(urlsplit(url).scheme)(options)
    return store


class AskOptions(TypedDict, total=False):
    """The options of a question.

    `preset` is the name of a preset, or a `Preset` object; the default is the preset of the panel, then the default
    preset of the configuration. `context` is background text for the question. `system` is a system text that is sent
    before the question. `history` is the list of earlier turns; `continue_from` is the id of a run whose question and
    answer become the history. `output="guidance"` returns the drafts as notes, for a caller that writes the answer
    itself. `on_partial="refuse"` ends the run before its next layer once a draft is missing; by default the preset
    decides. `max_cost_usd` (US dollars) and `deadline_seconds` can only lower the limits of the configuration.
    `fresh=False` returns the stored answer if the same question was answered in the last ten minutes, and resumes the
    run of that question if it was interrupted; by default every question starts a new run.
    """

    preset: str | Preset | None
    context: str | None
    system: str | None
    history: Sequence[Message]
    continue_from: str | None
    output: Output
    on_partial: OnPartial | None
    max_cost_usd: float | None
    deadline_seconds: float | None
    fresh: bool


class Panel:
    """A panel of models that keeps its store and its connections open for many questions.

        async with Panel("moa-lite") as panel:
            run = await panel.ask("Which of these proofs is wrong?")
            async for event in panel.stream("And why?"):
                ...

    `preset` is used for questions that name no preset. `providers` are your own providers, by the name that the ids
    of their models begin with: any object with `async complete(call, on_text) -> Draft`. Such a provider replaces a
    declared provider of the same name. Limits such as `max_concurrency` are shared by all questions to one panel.

    Raises:
        UserError: an argument is not valid; the message gives the reason.
    """

    def __init__(self, preset: str | Preset | None = None, *, providers: Mapping[str, Provider] | None = None) -> None:
        self._preset = _check_option("preset", preset)
        self._providers = _check_providers(providers)
        self._open = AsyncExitStack()
        self._service: Service | None = None

    async def __aenter__(self) -> Self:
        """Open the store. Raises UserError: the panel is already open, or MOA_MCP_HOME is not an absolute path."""
        if self._service is not None:
            raise InvalidRequest("This panel is open already. Make another one, or use this one as it is.")
        self._service = await self._open.enter_async_context(open_service(providers=self._providers))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        """Stop all unfinished runs, and close the store and the connections."""
        self._service = None
        return await self._open.__aexit__(kind, error, trace)

    async def ask(self, question: str, **options: Unpack[AskOptions]) -> Run:
        """Ask, wait for the end, and return the run.

        Raises:
            UserError: the request is not valid; the message gives the reason.
            RunFailed: the run has no answer; the message names each cause, and `run` has the drafts and their cost.
        """
        service, request = self._prepare(question, options)
        run = await service.ask(request)
        if run.answer is None:
            raise RunFailed(run.error or f"The run was {run.status}.", run=run)
        return run

    def stream(self, question: str, **options: Unpack[AskOptions]) -> AsyncGenerator[Event]:
        """Ask, and yield each event of the run as it happens (see `moa_mcp.events`).

        The last event is `RunEnded`, whose `run` has the answer, or the error if there is no answer. Leaving the loop
        early stops the calls; the run can be resumed. Raises UserError as `ask` does.
        """
        service, request = self._prepare(question, options)
        return _stream_events(lambda handler: service.ask(request, handler=handler))

    def _prepare(self, question: str, options: AskOptions) -> tuple[Service, AskRequest]:
        if self._service is None:
            raise InvalidRequest("This panel is not open. Use it as `async with Panel(...) as panel:`.")
        request = _make_request(question, options)
        return self._service, request if request.preset is not None else replace(request, preset=self._preset)


async def ask(question: str, **options: Unpack[AskOptions]) -> Run:
    """Ask a panel and wait for its answer. For several questions use a `Panel`, which keeps its connections.

    Raises:
        UserError: the request is not valid; the message gives the reason.
        RunFailed: the run has no answer; the message names each cause, and `run` has the drafts and their cost.
    """
    _make_request(question, options)
    async with Panel() as panel:
        return await panel.ask(question, **options)


def ask_sync(question: str, **options: Unpack[AskOptions]) -> Run:
    """`ask` for programs without an event loop. It raises what `ask` raises.

    If an event loop is already running (in a notebook), the question is asked in another thread. That blocks the
    running loop, so use `await ask(...)` there.
    """
    ask_once = partial(ask, question, **options)
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return anyio.run(ask_once)
    with start_blocking_portal() as portal:
        return portal.call(ask_once)


def stream(question: str, **options: Unpack[AskOptions]) -> AsyncGenerator[Event]:
    """`Panel.stream` for one question."""
    _make_request(question, options)

    async def ask_once(handler: EventHandler) -> Run:
        async with open_service() as service:
            return await service.ask(_make_request(question, options), handler=handler)

    return _stream_events(ask_once)


async def _stream_events(start: Callable[[EventHandler], Awaitable[Run]]) -> AsyncGenerator[Event]:
    """Call `start` in a separate task, and yield the events of its run; the last event is `RunEnded`.

    The caller may leave this generator at any `yield`, and Python may then close it in another task. A cancel scope
    must be closed in the task that opened it, so this function uses an asyncio task and not an anyio task group.
    """
    send, receive = anyio.create_memory_object_stream[Event](inf)

    def on_event(event: Event) -> None:
        if not isinstance(event, RunEnded):
            send.send_nowait(event)

    async def ask_and_end() -> None:
        with send:
            run = await start(on_event)
            send.send_nowait(stamped(RunEnded(run), run))

    task = asyncio.create_task(ask_and_end())
    try:
        with receive:
            async for event in receive:
                yield event
        await task
    finally:
        # Without effect if the run has ended. Otherwise the caller left early: stop the run, and wait until it stopped.
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


_KINDS: Mapping[str, tuple[tuple[type, ...], str]] = {
    "preset": ((str, Preset, NoneType), "the name of a preset, or a Preset"),
    "context": ((str, NoneType), "a text"),
    "system": ((str, NoneType), "a text"),
    "continue_from": ((str, NoneType), "the id of a run"),
    "output": ((str,), "'answer' or 'guidance'"),
    "on_partial": ((str, NoneType), "'answer' or 'refuse'"),
    "max_cost_usd": ((int, float, NoneType), "a number of US dollars above 0"),
    "deadline_seconds": ((int, float, NoneType), "a number of seconds above 0, 3600 at most"),
    "fresh": ((bool,), "True or False"),
    "history": ((list, tuple), "a list of Message(speaker, text)"),
}
"""The allowed types of each option, and their description for error messages."""


_WORDS: Mapping[str, tuple[str, ...]] = {"output": get_args(Output), "on_partial": get_args(OnPartial)}
"""The allowed texts of the options that are one of a few words."""


def _make_request(question: object, options: AskOptions) -> AskRequest:
    """Make a request from the arguments. Raises InvalidRequest: an argument is not valid."""
    if not isinstance(question, str):
        raise InvalidRequest(f"The question is {_describe(question)}. It has to be a text (str).")
    if unknown := next((name for name in options if name not in _KINDS), None):
        nearest = ", ".join(sort_by_closeness(unknown, _KINDS))
        raise InvalidRequest(f"There is no argument {unknown!r}. Known, nearest first: {nearest}.")
    checked: dict[str, Any] = {"fresh": True, **{name: _check_option(name, value) for name, value in options.items()}}
    if "history" in checked:
        checked["history"] = tuple(map(_check_turn, checked["history"]))
    return AskRequest(question, **checked)


def _check_option(name: str, value: Any) -> Any:
    """Return the value of an option. Raises InvalidRequest: its type is wrong, or it is out of range."""
    kinds, expected = _KINDS[name]
    fits = isinstance(value, kinds) and (bool in kinds or not isinstance(value, bool))
    if fits and isinstance(value, int | float) and not isinstance(value, bool):
        fits = 0 < value <= (3600 if name == "deadline_seconds" else sys.float_info.max)
    if isinstance(value, str) and (words := _WORDS.get(name)):
        fits = value in words
    if not fits:
        raise InvalidRequest(f"{name} is {_describe(value)}. It has to be {expected}.")
    return value


def _check_turn(turn: Any) -> Any:
    if not (isinstance(turn, Message) and turn.speaker in get_args(Speaker)) or type(turn.text) is not str:
        speakers = ", ".join(get_args(Speaker))
        raise InvalidRequest(
            f"history has {_describe(turn)}. It has to be a list of Message(speaker, text), speaker one of {speakers}."
        )
    return turn


def _check_providers(providers: Any) -> Mapping[str, Provider]:
    if providers is None:
        return {}
    if not hasattr(providers, "items"):
        raise InvalidRequest(f"providers is {_describe(providers)}. It has to be a dict of names and providers.")
    for name, provider in providers.items():
        if not isinstance(name, str) or not is_name(name):
            raise InvalidRequest(f"The provider's name {name!r} is not one of lower-case letters, digits, - and _.")
        if not iscoroutinefunction(getattr(provider, "complete", None)):
            raise InvalidRequest(f"Provider {name!r} has no method `async complete(call, on_text) -> Draft`.")
    return dict(providers)


def _describe(value: object) -> str:
    shown = one_line(repr(value), 60)
    return "None" if value is None else f"{shown} ({type(value).__name__})"
