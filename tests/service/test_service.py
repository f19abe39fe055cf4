"""The service: nothing is paid for twice, a conversation goes on, and a day has its ceiling."""

import sqlite3
import threading
from collections.abc import Generator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest

from moa_mcp.config.settings import Paths
from moa_mcp.domain.errors import InvalidRequest, MissingKey, PlanRefused, ProviderError, Reason, UnknownRun
from moa_mcp.domain.model import Call, Message, Run
from moa_mcp.domain.preset import Aggregator, Limits, Proposer
from moa_mcp.domain.shortfalls import PanelSummary
from moa_mcp.domain.spend import Spend
from moa_mcp.presets.library import PresetLibrary
from moa_mcp.service.configure.editor import ChangeRequest, ConfigEditor
from moa_mcp.service.service import AskRequest
from moa_mcp.store.base import AdmittedRun
from moa_mcp.store.daily_budget import OverBudget, ReservationRequest
from moa_mcp.store.fallback import FallbackStore
from moa_mcp.store.memory import MemoryStore
from moa_mcp.store.sqlite.store import SqliteStore
from moa_mcp.testing.scripted import HoldingProvider, ScriptedProvider
from tests.service.fixtures import PRESET, reply_to, service_of

ASK = AskRequest("Q?", preset=PRESET)


async def test_two_who_ask_the_same_at_once_share_one_run(tmp_path: Path) -> None:
    provider, runs = ScriptedProvider(reply_to), list[Run]()
    async with service_of(tmp_path, provider, SqliteStore(tmp_path / "runs.db")) as service:

        async def ask() -> None:
            runs.append(await service.ask(ASK))

        async with anyio.create_task_group() as group:
            group.start_soon(ask)
            group.start_soon(ask)

    assert len(provider.calls) == 5
    assert runs[0].run_id == runs[1].run_id
    await service.store.aclose()


async def test_the_same_question_a_moment_later_is_cached_and_fresh_starts_a_new_run(tmp_path: Path) -> None:
    provider = ScriptedProvider(reply_to)
    async with service_of(tmp_path, provider, MemoryStore()) as service:
        first, again = await service.ask(ASK), await service.ask(ASK)
        fresh = await service.ask(AskRequest("Q?", preset=PRESET, fresh=True))

    assert (first.cached, again.cached, fresh.cached) == (False, True, False)
    assert (again.run_id == first.run_id, fresh.run_id == first.run_id) == (True, False)
    assert len(provider.calls) == 10


async def test_a_panel_without_its_dearest_model_is_skewed(tmp_path: Path) -> None:
    prices = "{dear: {input_mtok: 5, output_mtok: 30}, cheap: {input_mtok: 0.1, output_mtok: 0.4}}"
    (tmp_path / "config.yaml").write_text(
        f"providers:\n  lab: {{base_url: 'http://127.0.0.1:9/v1', local: false, prices: {prices}}}\n", encoding="utf-8"
    )
    models = ("lab/dear", "lab/cheap")
    preset = PRESET.model_copy(update={"proposers": tuple(Proposer(model=model) for model in models), "layers": 2})

    async def panel_without(lost: str) -> PanelSummary:
        def reply(call: Call) -> str | ProviderError:
            return ProviderError(Reason.RATE_LIMITED) if call.model == lost else reply_to(call)

        async with service_of(tmp_path, ScriptedProvider(reply), MemoryStore()) as service:
            return (await service.ask(AskRequest("Q?", preset=preset, fresh=True))).panel

    assert [(await panel_without(model)).skewed for model in models] == [True, False]


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
async def test_the_latest_run_is_the_one_whose_answer_was_given_last(tmp_path: Path, kind: str) -> None:
    store = MemoryStore() if kind == "memory" else SqliteStore(tmp_path / "runs.db")
    others = AskRequest("Another?", preset=PRESET)

    async def latest() -> str | None:
        run = await service.latest()
        return run.run_id if run else None

    async with service_of(tmp_path, ScriptedProvider(reply_to), store) as service:
        first, second = await service.ask(ASK), await service.ask(others)
        seen = [await latest()]
        await service.ask(ASK)
        seen.append(await latest())
        await service.collect(second.run_id)
        seen.append(await latest())
        listed = [run.run_id for run in await service.runs()]
    await store.aclose()

    assert seen == [second.run_id, first.run_id, second.run_id]
    assert listed == [second.run_id, first.run_id]


@pytest.mark.parametrize("waits", [True, False])
async def test_of_runs_side_by_side_the_one_that_answers_last_is_the_latest_if_somebody_waits_for_it(
    tmp_path: Path, *, waits: bool
) -> None:
    gate = HoldingProvider(ScriptedProvider(reply_to), lambda call: "Slow?" in call.messages[-1].text)
    async with service_of(tmp_path, gate, MemoryStore()) as service:
        slow = await service.ask(AskRequest("Slow?", preset=PRESET), wait_seconds=0)
        quick = await service.ask(ASK)
        live = service.scheduler.find("local", slow.run_id)
        assert live is not None
        async with anyio.create_task_group() as group:
            if waits:
                group.start_soon(service.collect, slow.run_id)
                await anyio.wait_all_tasks_blocked()
            gate.opened.set()
            await live.done.wait()
        latest = await service.latest()

    assert latest is not None
    assert latest.run_id == (slow if waits else quick).run_id


async def test_another_owner_gets_a_run_of_their_own(tmp_path: Path) -> None:
    async with service_of(tmp_path, ScriptedProvider(reply_to), MemoryStore()) as service:
        anns, bobs = await service.ask(ASK, owner="ann"), await service.ask(ASK, owner="bob")
        with pytest.raises(UnknownRun):
            await service.collect(anns.run_id, owner="bob")
        latest = await service.latest(owner="bob")

    assert (bobs.cached, latest and latest.run_id) == (False, bobs.run_id)


async def test_a_run_of_another_server_is_waited_for_and_not_bought_again(tmp_path: Path) -> None:
    file, idle = tmp_path / "runs.db", ScriptedProvider(reply_to)
    gate = HoldingProvider(ScriptedProvider(reply_to), lambda call: True)
    stores = SqliteStore(file), SqliteStore(file)
    async with service_of(tmp_path, gate, stores[0]) as first, service_of(tmp_path, idle, stores[1]) as second:
        going = await first.ask(ASK, wait_seconds=0)
        seen = await second.ask(ASK, wait_seconds=0)
        gate.opened.set()
        ended = await second.ask(ASK)

    assert (seen.run_id, seen.status) == (going.run_id, "running")
    assert (ended.run_id, ended.status, idle.calls) == (going.run_id, "completed", [])
    for store in stores:
        await store.aclose()


async def test_a_cancelled_run_looks_the_same_whenever_it_is_looked_at(tmp_path: Path) -> None:
    store, gate = (
        SqliteStore(tmp_path / "runs.db"),
        HoldingProvider(ScriptedProvider(reply_to), lambda call: call.id == "1.2"),
    )
    async with service_of(tmp_path, gate, store) as service:
        run = await service.ask(ASK, wait_seconds=0)
        await gate.held.wait()
        cancelled = await service.cancel(run.run_id)
        collected = await service.collect(run.run_id)
    await store.aclose()

    for look in (cancelled, collected):
        assert {record.call.id: record.status for record in look.calls} == {"1.1": "ok", "1.2": "cancelled"}


@pytest.mark.parametrize(
    ("config", "preset", "request_usd", "expected"),
    [
        ("limits: {max_calls: 4}\n", {}, None, r"needs 5 calls, and 4 is the limit\..*max_calls in the configuration"),
        ("", {"max_calls": 3}, None, r"needs 5 calls, and 3 is the limit\..*max_calls of the preset"),
        ("", {}, 1e-9, r"needs about \$.*max_cost_usd of the request"),
    ],
)
async def test_a_plan_over_a_limit_is_refused_with_whose_limit_it_is(
    tmp_path: Path, config: str, preset: dict[str, Any], request_usd: float | None, expected: str
) -> None:
    (tmp_path / "config.yaml").write_text(config, encoding="utf-8")
    priced = {
        "proposers": (Proposer(model="openai/gpt-4o", samples=2),),
        "aggregator": Aggregator(model="openai/gpt-4o"),
    }
    asked = PRESET.model_copy(update={"limits": Limits(**preset), **priced})
    async with service_of(tmp_path, ScriptedProvider(reply_to), MemoryStore()) as service:
        with pytest.raises(PlanRefused, match=expected):
            await service.plan(AskRequest("Q?", preset=asked, max_cost_usd=request_usd))


async def test_a_plan_needs_no_key_but_names_the_missing_one(tmp_path: Path) -> None:
    preset = PRESET.model_copy(update={"aggregator": Aggregator(model="openai/gpt-4o")})
    async with service_of(tmp_path, ScriptedProvider(reply_to), MemoryStore()) as service:
        plan = await service.plan(AskRequest("Q?", preset=preset))
        with pytest.raises(MissingKey, match="OPENAI_API_KEY"):
            await service.ask(AskRequest("Q?", preset=preset))

    assert plan.dry_run.calls == 5
    assert plan.missing is not None
    assert plan.missing.variables == ("OPENAI_API_KEY",)


@pytest.mark.parametrize("by", ["question", "run_id"])
async def test_who_asks_again_while_a_dropped_run_is_wound_down_goes_on_with_it(tmp_path: Path, by: str) -> None:
    written = anyio.Event()

    class Slow(MemoryStore):
        async def finish(self, run: Run) -> None:
            await written.wait()
            await super().finish(run)

    provider = ScriptedProvider(reply_to)
    gate = HoldingProvider(provider, lambda call: call.id == "1.2")
    again = list[Run]()
    async with service_of(tmp_path, gate, Slow()) as service:

        async def ask() -> None:
            again.append(await (service.ask(ASK) if by == "question" else service.collect(run_id, wait_seconds=0)))

        async with anyio.create_task_group() as first:
            first.start_soon(service.ask, ASK)
            await gate.held.wait()
            first.cancel_scope.cancel()
        run_id = (await service.runs())[0].run_id
        gate.opened.set()
        async with anyio.create_task_group() as second:
            second.start_soon(ask)
            await anyio.wait_all_tasks_blocked()
            written.set()
        run = await service.collect(run_id)

    assert (again[0].run_id, run.status) == (run_id, "completed")
    assert [call.id for call in provider.calls].count("1.1") == 1


async def test_cancelling_a_run_of_another_server_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "runs.db"
    gate, idle = HoldingProvider(ScriptedProvider(reply_to), lambda call: True), ScriptedProvider(reply_to)
    stores = SqliteStore(file), SqliteStore(file)
    async with service_of(tmp_path, gate, stores[0]) as first, service_of(tmp_path, idle, stores[1]) as second:
        going = await first.ask(ASK, wait_seconds=0)
        with pytest.raises(InvalidRequest, match="goes on in another server on this machine"):
            await second.cancel(going.run_id)
        gate.opened.set()
        ended = await first.collect(going.run_id)

    assert ended.status == "completed"
    for store in stores:
        await store.aclose()


async def test_an_interrupted_run_that_is_cancelled_is_not_gone_on_with(tmp_path: Path) -> None:
    store, provider = SqliteStore(tmp_path / "runs.db"), ScriptedProvider(reply_to)
    async with service_of(tmp_path, HoldingProvider(provider, lambda call: True), store) as service:
        run = await service.ask(ASK, wait_seconds=0)
    async with service_of(tmp_path, provider, store) as service:
        cancelled = await service.cancel(run.run_id)
        collected = await service.collect(run.run_id)
    await store.aclose()

    assert (cancelled.status, collected.status, provider.calls) == ("cancelled", "cancelled", [])


async def test_an_interrupted_run_that_cannot_be_gone_on_with_comes_back_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "runs.db"
    first = SqliteStore(file)
    async with service_of(tmp_path, HoldingProvider(ScriptedProvider(reply_to), lambda call: True), first) as service:
        run = await service.ask(ASK, wait_seconds=0)
    await first.aclose()
    with closing(sqlite3.connect(file)) as db:
        db.execute("PRAGMA user_version = 99")
    newer = FallbackStore(file, lambda: SqliteStore(file))

    async with service_of(tmp_path, ScriptedProvider(reply_to), newer) as service:
        found = await service.collect(run.run_id)
    await newer.aclose()

    assert found.status == "interrupted"


async def test_one_who_gives_up_waiting_for_the_turn_to_start_does_not_let_another_in(tmp_path: Path) -> None:
    provider, opened, runs = ScriptedProvider(reply_to), anyio.Event(), list[Run]()

    class Slow(MemoryStore):
        async def admit(self, run: Run, wanted: ReservationRequest, since: float | None = None) -> AdmittedRun | Run:
            await opened.wait()
            return await super().admit(run, wanted, since)

    async with service_of(tmp_path, provider, Slow()) as service:

        async def ask() -> None:
            runs.append(await service.ask(ASK))

        async with anyio.create_task_group() as group:
            group.start_soon(ask)
            await anyio.wait_all_tasks_blocked()
            async with anyio.create_task_group() as impatient:
                impatient.start_soon(service.ask, ASK)
                await anyio.wait_all_tasks_blocked()
                impatient.cancel_scope.cancel()
            assert len(service.starting) == 1
            group.start_soon(ask)
            await anyio.wait_all_tasks_blocked()
            opened.set()

    assert len({run.run_id for run in runs}) == 1
    assert len(provider.calls) == 5


async def test_a_change_that_waits_for_another_server_holds_up_no_run(tmp_path: Path) -> None:
    released = threading.Event()

    @contextmanager
    def once_released() -> Generator[None]:
        assert released.wait(10)
        yield

    async with service_of(tmp_path, ScriptedProvider(reply_to), MemoryStore()) as service:
        home, library = Paths.in_folder(tmp_path), PresetLibrary(Paths.in_folder(tmp_path).presets_folder)
        service.editor = ConfigEditor(home, library, service.settings, service.registry, once_released)
        change = await service.propose(ChangeRequest(default_preset="light"))
        async with anyio.create_task_group() as group:
            group.start_soon(service.apply, change)
            assert (await service.ask(ASK)).status == "completed"
            assert service.editor.current()["revision"] == 0
            released.set()
        assert service.editor.current()["revision"] == 1


async def test_a_conversation_carries_questions_and_answers_and_no_drafts(tmp_path: Path) -> None:
    provider = ScriptedProvider(reply_to)
    async with service_of(tmp_path, provider, MemoryStore()) as service:
        one = await service.ask(ASK)
        two = await service.ask(AskRequest("And?", preset=PRESET, continue_from=one.run_id))
        three = await service.ask(AskRequest("So?", preset=PRESET, continue_from=two.run_id))

    turns = [(turn.speaker, turn.text) for turn in three.task.history]
    assert turns == [("user", "Q?"), ("assistant", "<3.1>"), ("user", "And?"), ("assistant", "<3.1>")]


async def test_background_is_kept_apart_from_the_question_and_both_are_read_and_continued(tmp_path: Path) -> None:
    asked = AskRequest("Sum?", preset=PRESET, context="The ledger says 17.")
    provider = ScriptedProvider(reply_to)
    async with service_of(tmp_path, provider, MemoryStore()) as service:
        one, same = await service.ask(asked), await service.ask(asked)
        other = await service.ask(replace(asked, context="The ledger says 18."))
        two = await service.ask(AskRequest("And?", preset=PRESET, continue_from=one.run_id))

    turn = "Background for the question below:\n\nThe ledger says 17.\n\nThe question:\n\nSum?"
    assert (one.task.question, one.task.context) == ("Sum?", "The ledger says 17.")
    assert provider.calls[0].messages == (Message("user", turn),)
    assert two.task.history[0] == Message("user", turn)
    assert same.run_id == one.run_id != other.run_id


async def test_a_continued_answer_is_read_without_what_cannot_be_seen(tmp_path: Path) -> None:
    async with service_of(tmp_path, ScriptedProvider(lambda call: "a\u200b\ufe0fb"), MemoryStore()) as service:
        one = await service.ask(ASK)
        two = await service.ask(AskRequest("And?", preset=PRESET, continue_from=one.run_id))

    assert one.answer == "a\u200b\ufe0fb"
    assert two.task.history[-1].text == "ab"


async def test_a_day_has_a_ceiling_and_an_ended_run_is_booked(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("limits: {max_calls_per_day: 8}\n", encoding="utf-8")
    provider = ScriptedProvider(reply_to)
    async with service_of(tmp_path, provider, MemoryStore()) as service:
        await service.ask(ASK)
        spent = await service.store.spent("local")
        with pytest.raises(OverBudget, match="max_calls_per_day"):
            await service.ask(AskRequest("Another?", preset=PRESET))

    assert (spent, len(provider.calls)) == (Spend(5, 0, 0.0), 5)


async def test_a_run_is_not_forgotten_while_it_goes_on(tmp_path: Path) -> None:
    gate = HoldingProvider(ScriptedProvider(reply_to), lambda call: True)
    async with service_of(tmp_path, gate, MemoryStore()) as service:
        run = await service.ask(ASK, wait_seconds=0)
        with pytest.raises(InvalidRequest, match="going on"):
            await service.remove(run.run_id)
        await service.cancel(run.run_id)
        await service.remove(run.run_id)
        with pytest.raises(UnknownRun):
            await service.collect(run.run_id)
