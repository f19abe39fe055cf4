"""What a run sends is booked before it is sent, in writes that are made anyway; and its hold grows with its needs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from moa_mcp.domain.errors import ProviderError, Reason
from moa_mcp.domain.model import Call, CallRecord, Draft, Run, Task
from moa_mcp.domain.preset import Aggregator, NestedPreset, Preset
from moa_mcp.domain.spend import Spend
from moa_mcp.flows.panel import ask_panel
from moa_mcp.providers.prices import FREE
from moa_mcp.providers.run_provider import RunProviderFactory
from moa_mcp.runs.live_run import LiveRun
from moa_mcp.runs.runner import first_calls
from moa_mcp.runs.scheduler import open_scheduler
from moa_mcp.service.service import AskRequest
from moa_mcp.store.daily_budget import OverBudget, ReservationRequest
from moa_mcp.store.memory import MemoryStore
from moa_mcp.store.sqlite.store import SqliteStore
from moa_mcp.testing.scripted import HoldingProvider, ScriptedProvider
from tests.service.fixtures import PRESET, reply_to, service_of

INNER = Preset.model_validate({"name": "inner", "proposers": ["lab/x", "lab/y"], "aggregator": "lab/z"})
NESTED = Preset(
    name="nested",
    layers=3,
    proposers=(NestedPreset(preset="inner", plan=INNER),),
    aggregator=Aggregator(model="lab/agg"),
)
LARGE = Spend(1000, 10**9, 1000.0)


def commits(file: Path) -> int:
    """How many transactions have changed a database: SQLite counts them in the head of its file."""
    return int.from_bytes(file.read_bytes()[24:28])


def a_run(preset: Preset, run_id: str = "r1") -> Run:
    return Run(run_id, preset.name, preset, Task("Q?", seed=1), planned_calls=7 if preset is NESTED else 5)


def asks(run: Run, at_most: Spend, cap: Spend = LARGE, first: Spend = Spend()) -> ReservationRequest:
    return ReservationRequest(run.owner, run.run_id, Spend(calls=1), at_most, cap, 1e12, first)


@pytest.mark.parametrize(("preset", "rounds"), [(PRESET, 3), (NESTED, 5)], ids=["plain", "nested"])
async def test_booking_needs_no_extra_commit(tmp_path: Path, preset: Preset, rounds: int) -> None:
    file, run = tmp_path / "runs.db", a_run(preset)
    store = SqliteStore(file)
    before = commits(file)
    first = Spend(len(list(first_calls(next(ask_panel(run.task, preset))))), 10**6)
    async with open_scheduler(
        RunProviderFactory(ScriptedProvider(reply_to), lambda _: FREE, lambda: 0.0), store
    ) as scheduler:
        live = await scheduler.start(run, asks(run, LARGE, first=first))
        assert isinstance(live, LiveRun)
        ended = await scheduler.wait(live, None)
    spent = await store.spent(run.owner)
    await store.aclose()

    assert (ended.status, spent.calls) == ("completed", run.planned_calls)
    assert commits(file) - before == rounds + 1  # its admission, each round but the last, its end


async def test_a_hold_that_is_too_small_for_the_run_grows_with_it(tmp_path: Path) -> None:
    store, run = SqliteStore(tmp_path / "runs.db"), a_run(PRESET)
    async with open_scheduler(
        RunProviderFactory(ScriptedProvider(reply_to), lambda _: FREE, lambda: 0.0), store
    ) as scheduler:
        live = await scheduler.start(run, asks(run, Spend(calls=1)))
        assert isinstance(live, LiveRun)
        ended = await scheduler.wait(live, None)
    spent = await store.spent(run.owner)
    await store.aclose()

    assert ([record.status for record in ended.calls], spent.calls) == (["ok"] * 5, 5)


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
async def test_nothing_is_sent_that_the_day_has_no_room_for(tmp_path: Path, kind: str) -> None:
    store = MemoryStore() if kind == "memory" else SqliteStore(tmp_path / "runs.db")
    provider, run = ScriptedProvider(reply_to), a_run(PRESET)
    async with open_scheduler(RunProviderFactory(provider, lambda _: FREE, lambda: 0.0), store) as scheduler:
        live = await scheduler.start(run, asks(run, Spend(calls=1), replace(LARGE, calls=3)))
        assert isinstance(live, LiveRun)
        ended = await scheduler.wait(live, None)
    spent = await store.spent(run.owner)
    await store.aclose()

    assert len(provider.calls) == spent.calls == ended.calls_made == 3
    assert {record.status for record in ended.calls} == {"ok", "refused"}


async def test_calls_that_ask_again_leave_room_in_the_day_for_the_plan(tmp_path: Path) -> None:
    def reply(call: Call) -> str | Exception:
        return ProviderError(Reason.UNAVAILABLE) if call.id == "1.1" else reply_to(call)

    provider, run = ScriptedProvider(reply), a_run(PRESET)
    async with open_scheduler(RunProviderFactory(provider, lambda _: FREE, lambda: 0.0), MemoryStore()) as scheduler:
        live = await scheduler.start(run, asks(run, Spend(calls=5), replace(LARGE, calls=5)))
        assert isinstance(live, LiveRun)
        ended = await scheduler.wait(live, None)

    assert [call.id for call in provider.calls if call.id == "1.1"] == ["1.1"]
    assert ended.answer == "<3.1>"


async def test_each_run_of_a_small_day_sets_aside_what_it_needs_and_not_the_day(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("limits: {max_calls_per_day: 30}\n", encoding="utf-8")
    gate = HoldingProvider(ScriptedProvider(reply_to), lambda call: True)
    async with service_of(tmp_path, gate, MemoryStore()) as service:
        going = [await service.ask(AskRequest(f"{number}?", preset=PRESET), wait_seconds=0) for number in range(4)]
        with pytest.raises(OverBudget, match="Wait for one of these runs to end"):
            await service.ask(AskRequest("More?", preset=PRESET))
        gate.opened.set()
        for run in going:
            await service.collect(run.run_id)
        more = await service.ask(AskRequest("More?", preset=PRESET))

    assert more.status == "completed"


async def test_a_server_whose_run_was_taken_over_sends_nothing_more(tmp_path: Path) -> None:
    file, now = tmp_path / "runs.db", [0.0]
    silent, other = (SqliteStore(file, clock=lambda: now[0]) for _ in range(2))
    run, held, opened = a_run(PRESET), anyio.Event(), anyio.Event()
    sent: list[str] = []

    class Slow:
        async def complete(self, call: Call, on_text: object) -> Draft:
            sent.append(call.id)
            held.set()
            await opened.wait()
            return Draft(reply_to(call))

    async with open_scheduler(RunProviderFactory(Slow(), lambda _: FREE, lambda: 0.0), silent) as scheduler:
        live = await scheduler.start(run, asks(run, Spend(calls=5)))
        assert isinstance(live, LiveRun)
        await held.wait()
        now[0] = 1000.0
        taken = await other.claim(run.owner, run.run_id, asks(run, Spend(calls=5)))
        opened.set()
        ended = await scheduler.wait(live, None)
    records: list[CallRecord] = []
    assert taken is not None
    assert await silent.write_ahead(run.run_id, records, live.journal.hold, Spend(calls=9)) is None
    for store in (silent, other):
        await store.aclose()

    assert (ended.status, sorted(sent)) == ("failed", ["1.1", "1.2"])
