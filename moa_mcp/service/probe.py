"""Asks every model of a preset one tiny question, in the way that a run asks them, to see what works.

A probe is booked in the day's ledger like a run, and limited by the same ceilings, but it is not kept as one.
"""

from __future__ import annotations

import random
import secrets
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import anyio
from pydantic import BaseModel

from moa_mcp.domain.endpoints import Endpoint, split_model
from moa_mcp.domain.errors import ProviderError, Reason, UserError
from moa_mcp.domain.fields import ModelSettings
from moa_mcp.domain.model import (
    Call,
    CallRecord,
    EmbedCall,
    Failure,
    Message,
    Outcome,
    Run,
    Task,
)
from moa_mcp.domain.preset import Preset
from moa_mcp.domain.spend import Spend
from moa_mcp.flows.calls import make_call
from moa_mcp.providers.base import ignore_text, usage_of
from moa_mcp.providers.budget import Reservation
from moa_mcp.providers.notices import Notice, ReplyBegun, notices_to
from moa_mcp.providers.run_provider import RunProvider, RunProviderFactory
from moa_mcp.runs.background import background_tasks
from moa_mcp.runs.scheduler import HEARTBEAT_SECONDS
from moa_mcp.service.ceilings import daily_limit
from moa_mcp.service.model_lists import ListedModel, list_models
from moa_mcp.service.service import LOCAL, Service
from moa_mcp.store.base import AdmittedRun, RunStore
from moa_mcp.store.daily_budget import ReservationRequest

QUESTION = "Write the numbers from one to ten in words, on one line, and nothing else."

MAX_TOKENS = 512
"""The most that a model may write: twenty tokens are the answer, the rest is for what some think before it."""

CALL_SECONDS = 60.0
"""Time limit for one call, unless its provider is given longer until the first token."""

RETRY_SECONDS = 30.0
"""Time for retries, and for the queue of a provider that takes few calls at a time."""

LIST_SECONDS = 5.0
"""Time limit for a provider to list its models, from which the windows are read."""

_PROBE = "probe"


@dataclass(frozen=True, slots=True)
class ProbePlan:
    """The calls of a probe, one for each model. `refused` are the models that cannot be asked, with the reason.

    `needed` are the models without which the preset does not work. `at_most_usd` is the price if each model writes
    all that it may; it counts the models without a known price, `unpriced`, as 0.
    """

    preset: Preset
    calls: tuple[Call, ...]
    refused: dict[str, str]
    needed: frozenset[str]
    at_most_usd: float
    unpriced: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Probe:
    """What became of the call to one model. `is_streamed`: the last reply was a stream of events.

    `listed` is the model in its provider's own list; None if it is not there, or there is no list.
    """

    record: CallRecord
    is_streamed: bool
    listed: ListedModel | None

    @property
    def works(self) -> bool:
        """Whether the model answered. To think up to the limit of a probe is an answer, too."""
        outcome = self.record.outcome
        return not isinstance(outcome, Failure) or outcome.reason is Reason.REASONING_ONLY


def plan_probe(service: Service, preset: Preset) -> ProbePlan:
    """The calls to the models of a preset and to the model of embeddings, if there is one. Nothing is sent."""
    settings = service.settings()
    embeddings = [settings.embeddings] if settings.embeddings else []
    refused: dict[str, str] = {}
    for model in (*preset.models, *embeddings):
        try:
            service.registry.check_usable([model])
        except UserError as error:
            refused[model] = str(error)
    used = {each.model: each for each in reversed(list(_settings_in(preset)))}
    chat = (
        _chat_call(used.get(model) or ModelSettings(model=model), settings.endpoints[split_model(model)[0]])
        for model in preset.models
        if model not in refused
    )
    embed = (EmbedCall(model, _PROBE, 1, 1, model, _MESSAGES) for model in embeddings if model not in refused)
    calls = tuple(call for call in (*chat, *embed) if service.registry.is_sent(call))
    return ProbePlan(
        preset,
        calls,
        refused,
        frozenset((*preset.required_models, *embeddings)),
        _reserved(service, calls).usd,
        service.catalog.unpriced(call.model for call in calls),
    )


_MESSAGES = (Message("user", QUESTION),)


def _settings_in(part: BaseModel | tuple[Any, ...] | None) -> Iterator[ModelSettings]:
    """The settings of all models in a preset, at any depth."""
    if isinstance(part, ModelSettings):
        yield part
    if isinstance(part, BaseModel):
        for _, value in part:
            yield from _settings_in(value)
    elif isinstance(part, tuple):
        yield from chain.from_iterable(map(_settings_in, part))


def _chat_call(settings: ModelSettings, endpoint: Endpoint) -> Call:
    """The call to a model with its settings, except those that a short answer in words does not fit."""
    call = make_call(settings, _MESSAGES, settings.model, _PROBE, layer=1)
    thinking = endpoint.sampling(split_model(call.model)[1], call.sampling).thinking
    budget = 0 if thinking is None or isinstance(thinking, bool) else thinking  # a part of max_tokens
    return replace(
        call,
        max_tokens=MAX_TOKENS + budget,
        timeout_seconds=max(CALL_SECONDS, endpoint.first_token_seconds or 0.0),
        sampling=call.sampling and replace(call.sampling, response_format=None, stop=None),
    )


def _reserved(service: Service, calls: Iterable[Call]) -> Spend:
    reservations = (Reservation.for_call(call, service.registry.rates(call.model)) for call in calls)
    return sum((each.spend for each in reservations), Spend())


async def probe(service: Service, plan: ProbePlan, on_probe: Callable[[Probe], None]) -> None:
    """Make the calls of a plan, all at once, and hand over what became of each as soon as it is known.

    Raises:
        OverBudget: the day's budget has no room for the calls; nothing was sent.
    """
    providers = dict.fromkeys(split_model(call.model)[0] for call in plan.calls)
    lists = await list_models(service.registry, providers, LIST_SECONDS)
    listed = {model.model: model for each in lists for model in each.models}
    async with _booked(service, plan) as (provider, records):

        async def ask(call: Call) -> None:
            started, is_streamed = anyio.current_time(), False

            def on_notice(notice: Notice) -> None:
                nonlocal is_streamed
                is_streamed = notice.is_stream if isinstance(notice, ReplyBegun) else is_streamed

            outcome: Outcome = Failure(Reason.INTERNAL)
            try:
                with notices_to(on_notice):
                    outcome = await provider.complete(call, ignore_text)
            except ProviderError as error:
                outcome = Failure.of(error)
            except anyio.get_cancelled_exc_class():
                reason = Reason.TIMEOUT if scope.cancel_called else Reason.CANCELLED
                outcome = Failure(reason, usage=usage_of(provider, call))
                raise
            finally:
                record = CallRecord(call, outcome, anyio.current_time() - started)
                records.append(record)
                on_probe(Probe(record, is_streamed, listed.get(call.model)))

        longest = max((call.timeout_seconds or CALL_SECONDS for call in plan.calls), default=0.0)
        with anyio.move_on_after(longest + RETRY_SECONDS) as scope:
            async with anyio.create_task_group() as tasks:
                for call in plan.calls:
                    tasks.start_soon(ask, call)


@asynccontextmanager
async def _booked(service: Service, plan: ProbePlan) -> AsyncGenerator[tuple[RunProvider, list[CallRecord]]]:
    """Reserve a probe in the day's ledger, and book what the records came to at the end.

    For that it is a run for as long as it takes. If this process dies, the reservation is booked as spent.
    """
    limits, calls = service.settings().limits, plan.calls
    run = Run(
        run_id=secrets.token_hex(16),
        preset=plan.preset.name,
        plan=plan.preset,
        task=Task(QUESTION),
        created_at=time.time(),
        owner=LOCAL,
        limits=limits.per_run,
        planned_calls=len(calls),
    )
    needs = _reserved(service, calls)
    until = time.time() + limits.deadline_seconds
    request = ReservationRequest(LOCAL, run.run_id, needs, needs, daily_limit(limits), until, needs)
    admitted = await service.store.admit(run, request)
    assert isinstance(admitted, AdmittedRun)  # without `since`, no earlier run is looked for
    records: list[CallRecord] = []
    try:
        endpoints = service.registry.snapshot()
        async with background_tasks() as housekeeping:
            housekeeping.start_soon(_keep_alive, service.store)
            yield RunProviderFactory(endpoints, endpoints.rates, random.random)(run), records
    finally:
        with anyio.move_on_after(2, shield=True):
            await service.store.settle(admitted.reservation, Spend.on(records))
            await service.store.remove(LOCAL, run.run_id)


async def _keep_alive(store: RunStore) -> None:
    """Send heartbeats, without which other servers on the store would settle the reservation after a while."""
    while True:
        await anyio.sleep(HEARTBEAT_SECONDS)
        await store.heartbeat()
