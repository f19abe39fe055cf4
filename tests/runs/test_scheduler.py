"""The scheduler: a run belongs to the server, not to the call that started it."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from moa_mcp.domain.errors import Busy, ProviderError, Reason, UnknownRun
from moa_mcp.domain.model import Call, CallRecord, Draft, Result, Run, Task, Usage
from moa_mcp.domain.preset import Aggregator, Limits, Preset, Proposer
from moa_mcp.domain.spend import Spend
from moa_mcp.providers.base import OnText
from moa_mcp.runs.endings import DROP, SERVER_END
from moa_mcp.runs.live_run import LiveRun
from moa_mcp.runs.scheduler import HEARTBEAT_SECONDS, MAX_QUEUED_RUNS, RunScheduler, open_scheduler
from moa_mcp.store.memory import MemoryStore
from moa_mcp.store.sqlite.store import SqliteStore
from moa_mcp.testing.scripted import HoldingProvider, ScriptedProvider
from tests.admission import started, whatever
from tests.clock import jumping

PRESET = Preset(name="two", proposers=(Proposer(model="lab/p", samples=2),), aggregator=Aggregator(model="lab/agg"))


def reply_to(call: Call) -> str:
    return f"<{call.id}>"


def priced(call: Call) -> Draft:
    return Draft(reply_to(call), finish_reason="stop", usage=Usage(5, 5, 1.0))


class Counting:
    """A provider around a provider that knows what a call comes to which is cut off."""

    def __init__(self, inner: HoldingProvider) -> None:
        self.complete = inner.complete

    def usage_of(self, call: Call) -> Usage:
        return Usage(5, 0, 0.5, estimated=True)


def a_run(number: int = 1, owner: str = "local") -> Run:
    return Run(f"run{number}", "two", PRESET, Task("Q?"), owner=owner)


@asynccontextmanager
async def held_scheduler(concurrent: int = 4) -> AsyncGenerator[tuple[RunScheduler, HoldingProvider]]:
    """A scheduler whose calls all wait until the test lets them go on."""
    gate = HoldingProvider(ScriptedProvider(reply_to), lambda call: True)
    with anyio.fail_after(10):
        async with open_scheduler(lambda run: gate, MemoryStore(), concurrent) as scheduler:
            yield scheduler, gate


async def test_a_run_that_ends_in_time_comes_back_completed() -> None:
    async with open_scheduler(lambda run: ScriptedProvider(reply_to), MemoryStore()) as scheduler:
        run = await scheduler.wait(await started(scheduler, a_run()), 5)

    assert (run.status, run.answer, run.calls_made) == ("completed", "<2.1>", 3)


async def test_a_run_that_is_not_done_comes_back_running_and_goes_on() -> None:
    async with held_scheduler() as (scheduler, gate):
        live = await started(scheduler, a_run())
        early = await scheduler.wait(live, 0)
        gate.opened.set()
        late = await scheduler.wait(live, 5)

    assert (early.status, late.status) == ("running", "completed")


async def test_dropping_the_only_waiting_call_stops_the_calls_and_leaves_the_run_interrupted() -> None:
    async with held_scheduler() as (scheduler, gate):
        live = await started(scheduler, a_run())
        await drop(scheduler, live, gate)

    assert (live.run.status, live.run.error) == (DROP.status, DROP.why) == ("interrupted", DROP.why)
    assert len(gate.cancelled) == 2


async def drop(scheduler: RunScheduler, live: LiveRun, gate: HoldingProvider) -> None:
    """Wait for a run, and leave once its calls are held."""
    async with anyio.create_task_group() as group:
        group.start_soon(scheduler.wait, live, 60)
        await gate.held.wait()
        group.cancel_scope.cancel()
    await live.done.wait()


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
async def test_a_resumed_run_lists_every_request_that_was_sent_and_books_each_once(tmp_path: Path, kind: str) -> None:
    store = MemoryStore() if kind == "memory" else SqliteStore(tmp_path / "runs.db")
    gate = HoldingProvider(ScriptedProvider(priced), lambda call: call.id == "1.2")
    async with open_scheduler(lambda run: Counting(gate), store) as scheduler:
        live = await started(scheduler, a_run())
        await drop(scheduler, live, gate)
        dropped = await scheduler.get_run("local", "run1")
        gate.opened.set()
        resumed = await scheduler.resume("local", "run1", whatever("local", "run1"))
        assert resumed is not None
        run = await scheduler.wait(resumed, 5)
        kept, spent = await scheduler.get_run("local", "run1"), await store.spent("local")
    await store.aclose()

    assert [record.call.id for record in dropped.abandoned] == ["1.2"]
    assert (dropped.abandoned, dropped.calls_made) == (live.run.abandoned, live.run.calls_made)
    assert [record.status for record in dropped.drafts] == ["ok"]
    assert [record.status for record in run.drafts] == ["ok", "ok"]
    assert (run.status, run.calls_made, run.cost_usd) == ("completed", 4, 3.5)
    assert (kept.calls_made, kept.cost_usd) == (4, 3.5)
    assert spent == Spend(4, 35, 3.5)


@jumping
async def test_a_resumed_run_gets_a_new_deadline() -> None:
    class Slow(ScriptedProvider):
        async def complete(self, call: Call, on_text: OnText) -> Result:
            await anyio.sleep(7)
            return await super().complete(call, on_text)

    one_call = PRESET.model_copy(update={"layers": 1, "proposers": ()})
    asked = Run("run1", "one", one_call, Task("Q?"), limits=Limits(deadline_seconds=10))
    async with open_scheduler(lambda run: Slow(reply_to), MemoryStore()) as scheduler:
        live = await started(scheduler, asked)
        with anyio.move_on_after(6):
            await scheduler.wait(live, None)
        await live.done.wait()
        resumed = await scheduler.resume("local", "run1", whatever("local", "run1"))
        assert resumed is not None
        run = await scheduler.wait(resumed, None)

    assert (run.status, round(run.seconds)) == ("completed", 13)


async def test_a_cancel_while_a_dropped_run_is_wound_down_is_final() -> None:
    async with held_scheduler() as (scheduler, gate):
        live = await started(scheduler, a_run())
        await gate.held.wait()
        live.stop(DROP)
        run = await scheduler.stop(live)

    assert (run.status, len(run.calls), run.abandoned) == ("cancelled", 2, ())


async def test_once_the_gate_is_closed_runs_whose_last_call_has_ended_are_completed_and_others_interrupted() -> None:
    class Closing(MemoryStore):
        """Closes the gate when the first calls that have ended are written down."""

        async def add_records(self, run_id: str, records: Sequence[CallRecord]) -> bool:
            scheduler.gate.close()
            return await super().add_records(run_id, records)

    one_call = PRESET.model_copy(update={"layers": 1, "proposers": ()})
    provider = ScriptedProvider(reply_to)
    ends = list[Run]()
    for plan in (one_call, PRESET):
        async with open_scheduler(lambda run: provider, Closing()) as scheduler:
            for number in (1, 2):
                live = await started(scheduler, Run(f"run{number}", "any", plan, Task("Q?")))
                ends.append(await scheduler.wait(live, 5))

    assert [run.status for run in ends] == ["completed", "interrupted", "interrupted", "interrupted"]
    assert [call.id for call in provider.calls] == ["1.1", "1.1", "1.2"]
    assert (len(ends[2].drafts), ends[2].error) == (2, SERVER_END.why)


async def test_what_is_not_sent_anywhere_passes_the_closed_gate() -> None:
    async with open_scheduler(
        lambda run: ScriptedProvider(reply_to), MemoryStore(), is_sent=lambda call: False
    ) as scheduler:
        scheduler.gate.close()
        run = await scheduler.wait(await started(scheduler, a_run()), 5)

    assert (run.status, run.answer) == ("completed", "<2.1>")


async def test_a_run_that_was_handed_back_outlives_a_cancelled_wait() -> None:
    async with held_scheduler() as (scheduler, gate):
        live = await started(scheduler, a_run())
        await scheduler.wait(live, 0)
        async with anyio.create_task_group() as group:
            group.start_soon(scheduler.wait, live, 60)
            await gate.held.wait()
            group.cancel_scope.cancel()
        gate.opened.set()
        run = await scheduler.wait(live, 5)

    assert run.status == "completed"


async def test_a_run_goes_on_while_another_call_still_waits_for_it() -> None:
    async with held_scheduler() as (scheduler, gate):
        live = await started(scheduler, a_run())
        ends: list[Run] = []

        async def stay() -> None:
            ends.append(await scheduler.wait(live, 5))

        async with anyio.create_task_group() as outer:
            outer.start_soon(stay)
            async with anyio.create_task_group() as inner:
                inner.start_soon(scheduler.wait, live, 60)
                await gate.held.wait()
                inner.cancel_scope.cancel()
            gate.opened.set()

    assert [run.status for run in ends] == ["completed"]


async def test_stopping_a_run_says_so_and_keeps_what_was_done() -> None:
    async with held_scheduler() as (scheduler, gate):
        live = await started(scheduler, a_run())
        await gate.held.wait()
        run = await scheduler.stop(live)

    assert run.status == "cancelled"
    assert {record.status for record in run.calls} == {"cancelled"}


async def test_a_run_without_an_answer_is_failed_and_names_each_cause() -> None:
    provider = ScriptedProvider(lambda call: ProviderError(Reason.AUTH))
    async with open_scheduler(lambda run: provider, MemoryStore()) as scheduler:
        run = await scheduler.wait(await started(scheduler, a_run()), 5)

    assert run.status == "failed"
    assert run.error is not None
    assert run.error.count("refused the key") == 2


async def test_runs_beyond_the_limit_wait_for_their_turn() -> None:
    async with held_scheduler(concurrent=1) as (scheduler, gate):
        first, second = await started(scheduler, a_run(1)), await started(scheduler, a_run(2))
        await anyio.wait_all_tasks_blocked()
        gate.opened.set()
        runs = [await scheduler.wait(first, 5), await scheduler.wait(second, 5)]

    assert [run.status for run in runs] == ["completed", "completed"]


async def test_of_runs_that_come_together_the_first_go_on_before_the_last_begin() -> None:
    events: list[str] = []

    def provider_for(run: Run) -> ScriptedProvider:
        def reply(call: Call) -> str:
            events.append(f"{run.run_id} is answered")
            return reply_to(call)

        events.append(f"{run.run_id} begins")
        return ScriptedProvider(reply)

    async with open_scheduler(provider_for, MemoryStore(), 8) as scheduler:
        crowd = [await started(scheduler, a_run(number)) for number in range(8)]
        for live in crowd:
            await scheduler.wait(live, 5)

    assert events.index("run0 is answered") < events.index("run7 begins")


async def test_a_full_queue_is_an_error_at_once() -> None:
    async with held_scheduler(concurrent=1) as (scheduler, _):
        for number in range(1 + MAX_QUEUED_RUNS):
            await started(scheduler, a_run(number))
            await anyio.wait_all_tasks_blocked()
        with pytest.raises(Busy):
            await started(scheduler, a_run(99))


async def test_closing_the_scheduler_interrupts_running_runs() -> None:
    store = MemoryStore()
    gate = HoldingProvider(ScriptedProvider(reply_to), lambda call: True)
    with anyio.fail_after(5):
        async with open_scheduler(lambda run: gate, store) as scheduler:
            await started(scheduler, a_run())
            await gate.held.wait()

    run = await store.get("local", "run1")
    assert run is not None
    assert run.status == "interrupted"


async def test_a_foreign_run_looks_like_none() -> None:
    async with held_scheduler() as (scheduler, _):
        await started(scheduler, a_run(owner="ann"))
        for unknown in ("run1", "nope"):
            with pytest.raises(UnknownRun):
                await scheduler.get_run("bob", unknown)


async def test_an_ended_run_can_be_collected_later() -> None:
    async with open_scheduler(lambda run: ScriptedProvider(reply_to), MemoryStore()) as scheduler:
        live: LiveRun = await started(scheduler, a_run())
        await scheduler.wait(live, 5)
        run = await scheduler.get_run("local", "run1")

    assert run.answer == "<2.1>"


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
async def test_a_stopped_run_has_the_same_facts_when_it_is_collected_later(tmp_path: Path, kind: str) -> None:
    store = MemoryStore() if kind == "memory" else SqliteStore(tmp_path / "runs.db")
    gate = HoldingProvider(ScriptedProvider(reply_to), lambda call: True)
    async with open_scheduler(lambda run: gate, store) as scheduler:
        live = await started(scheduler, a_run())
        await gate.held.wait()
        message = await scheduler.stop(live)
        kept = await scheduler.get_run("local", "run1")
    await store.aclose()

    assert message.calls_made == kept.calls_made == 2


async def test_what_the_end_of_a_server_cut_off_is_asked_again_by_the_next_on_the_same_memory() -> None:
    store, gate = MemoryStore(), HoldingProvider(ScriptedProvider(reply_to), lambda call: True)
    async with open_scheduler(lambda run: gate, store) as scheduler:
        await started(scheduler, a_run())
        await gate.held.wait()
    async with open_scheduler(lambda run: ScriptedProvider(reply_to), store) as scheduler:
        live = await scheduler.resume("local", "run1", whatever("local", "run1"))
        assert live is not None
        run = await scheduler.wait(live, 5)

    assert (run.status, len(run.calls), run.calls_made) == ("completed", 3, 5)


async def test_a_resumed_run_that_waits_for_its_turn_has_its_drafts(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "runs.db")
    gate = HoldingProvider(ScriptedProvider(reply_to), lambda call: call.role == "aggregator")
    async with open_scheduler(lambda run: gate, store) as scheduler:
        await started(scheduler, a_run())
        await gate.held.wait()
    gate = HoldingProvider(ScriptedProvider(reply_to), lambda call: True)
    async with open_scheduler(lambda run: gate, store, 1) as scheduler:
        await started(scheduler, a_run(2))
        live = await scheduler.resume("local", "run1", whatever("local", "run1"))
        assert live is not None
        waiting = await scheduler.wait(live, 0)
        stopped = await scheduler.stop(live)
    await store.aclose()

    assert (len(waiting.drafts), len(stopped.drafts)) == (2, 2)


@jumping
async def test_a_server_sends_heartbeats_while_it_prunes_the_store() -> None:
    class Slow(MemoryStore):
        def __init__(self) -> None:
            super().__init__()
            self.is_full, self.beats, self.cleared = False, 0, anyio.Event()

        async def heartbeat(self) -> None:
            self.beats += 1

        async def prune(self) -> int:
            if self.is_full:
                await anyio.sleep(10 * HEARTBEAT_SECONDS)
                self.cleared.set()
            return 0

    store, gate = Slow(), HoldingProvider(ScriptedProvider(reply_to), lambda call: True)
    async with open_scheduler(lambda run: gate, store) as scheduler:
        await started(scheduler, a_run())
        store.is_full = True
        await store.cleared.wait()

    assert store.beats > 9
