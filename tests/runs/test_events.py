"""What is published of a run: by whom, in which order, with which id and time."""

from pathlib import Path

import anyio

from moa_mcp.domain.errors import ProviderError, Reason
from moa_mcp.domain.model import Call, Run, Task
from moa_mcp.domain.preset import Aggregator, Preset, Proposer
from moa_mcp.flows.mixture import mixture
from moa_mcp.providers.base import Provider
from moa_mcp.providers.wrappers.circuit_breaker import CircuitBreaker
from moa_mcp.providers.wrappers.concurrency_limit import ConcurrencyLimit
from moa_mcp.providers.wrappers.retrying import RetryBudget, Retrying
from moa_mcp.runs.events import (
    CallEnded,
    CallEvent,
    CallQueued,
    CallRetried,
    CallSent,
    Event,
    RouteCooled,
    RunEnded,
    RunQueued,
    RunStarted,
    StragglersAwaited,
    StragglersLeft,
)
from moa_mcp.runs.runner import Runner
from moa_mcp.runs.scheduler import open_scheduler
from moa_mcp.service.service import AskRequest
from moa_mcp.store.memory import MemoryStore
from moa_mcp.testing.scripted import HoldingProvider, ScriptedProvider
from tests.admission import started
from tests.runs.test_runner import Recorder
from tests.service.fixtures import PRESET, reply_to, service_of


def panel(slots: int, grace_seconds: float | None = None) -> Preset:
    """So many drafts of one model, and an answer of another."""
    return Preset(
        name="panel",
        proposers=(Proposer(model="lab/m", samples=slots),),
        aggregator=Aggregator(model="lab/agg"),
        straggler_grace_seconds=grace_seconds,
    )


def a_run(name: str) -> Run:
    return Run(name, "panel", panel(2), Task(name))


def of_no_credit(call: Call) -> str | Exception:
    return ProviderError(Reason.BILLING) if call.slot == 1 and call.layer == 1 else reply_to(call)


async def published(provider: Provider, preset: Preset) -> list[Event]:
    recorder = Recorder()
    with anyio.fail_after(10):
        await Runner(provider, recorder.on_event, recorder, 60).drive(mixture(Task("Q?"), preset))
    return recorder.events


def waits(events: list[Event]) -> list[Event]:
    """The waits of the drafts."""
    of_drafts = (event for event in events if isinstance(event, CallEvent) and event.call.layer == 1)
    return [event for event in of_drafts if isinstance(event, CallRetried | CallQueued | CallSent | RouteCooled)]


async def test_a_retry_is_published_with_its_wait_and_reason_and_then_that_it_is_sent() -> None:
    replies: list[str | Exception] = [ProviderError(Reason.OVERLOADED, "busy"), "blue", "green"]
    provider = Retrying(ScriptedProvider(lambda call: replies.pop(0)), RetryBudget(3), lambda: 0.01)
    first, second = waits(await published(provider, panel(1)))

    assert isinstance(first, CallRetried)
    assert (first.call_id, first.reason, first.detail, first.seconds) == ("1.1", Reason.OVERLOADED, "busy", 0.01)
    assert isinstance(second, CallSent)


async def test_a_call_that_finds_its_provider_at_its_limit_waits_for_its_turn() -> None:
    provider = ConcurrencyLimit(ScriptedProvider(reply_to), 1)
    events = waits(await published(provider, panel(2)))

    assert [(type(event), event.call_id) for event in events] == [(CallQueued, "1.2"), (CallSent, "1.2")]


async def test_a_model_that_is_left_alone_for_a_while_is_published_as_cooled() -> None:
    provider = CircuitBreaker(ScriptedProvider(of_no_credit))
    [cooled] = waits(await published(provider, panel(2)))

    assert isinstance(cooled, RouteCooled)
    assert (cooled.call.model, cooled.seconds, cooled.reason) == ("lab/m", 300.0, Reason.BILLING)


async def test_slow_calls_are_awaited_and_then_left_out() -> None:
    provider = HoldingProvider(ScriptedProvider(reply_to), lambda call: call.slot == 3 and call.layer == 1)
    events = await published(provider, panel(3, grace_seconds=0.02))

    [awaited] = [event for event in events if isinstance(event, StragglersAwaited)]
    [left] = [event for event in events if isinstance(event, StragglersLeft)]
    assert ([call.slot for call in awaited.calls], awaited.seconds) == ([3], 0.02)
    assert left.calls == awaited.calls


async def test_each_event_of_a_run_has_its_id_its_owner_and_the_time(tmp_path: Path) -> None:
    events = list[Event]()
    async with service_of(tmp_path, ScriptedProvider(reply_to), MemoryStore()) as service:
        service.scheduler.subscribe(events.append)
        run = await service.ask(AskRequest("Q?", preset=PRESET), owner="anne")

    assert {(event.run_id, event.owner) for event in events} == {(run.run_id, "anne")}
    assert [event.time for event in events] == sorted(event.time for event in events)
    assert events[0].time >= run.created_at
    assert all(event.call_id is not None for event in events if isinstance(event, CallEvent | CallEnded))


async def test_a_run_begins_with_its_start_and_ends_with_itself(tmp_path: Path) -> None:
    mine, all_of_them = list[Event](), list[Event]()
    async with service_of(tmp_path, ScriptedProvider(reply_to), MemoryStore()) as service:
        service.scheduler.subscribe(all_of_them.append)
        run = await service.ask(AskRequest("Q?", preset=PRESET), handler=mine.append)

    assert isinstance(all_of_them[0], RunStarted)
    [ended] = [event for event in all_of_them if isinstance(event, RunEnded)]
    assert ended.run == run
    assert isinstance(mine[-1], RunEnded)


async def test_a_run_that_waits_for_another_says_how_many_are_before_it() -> None:
    provider = HoldingProvider(ScriptedProvider(reply_to), lambda call: True)
    events = list[Event]()
    with anyio.fail_after(10):
        async with open_scheduler(lambda run: provider, MemoryStore(), max_concurrent_runs=1) as scheduler:
            scheduler.subscribe(events.append)
            runs = [await started(scheduler, a_run(name)) for name in ("first", "second", "third")]
            await provider.held.wait()
            await anyio.wait_all_tasks_blocked()
            provider.opened.set()
            for live in runs:
                await scheduler.wait(live, None)

    queued = [(event.run_id, event.ahead) for event in events if isinstance(event, RunQueued)]
    assert queued == [("second", 0), ("third", 1)]
