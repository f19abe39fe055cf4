"""The service: nothing is paid for twice, a conversation goes on, and a day has its ceiling."""

from pathlib import Path

import anyio
import pytest

from moa_mcp.errors import InvalidRequest, UnknownRun
from moa_mcp.model import Run
from moa_mcp.service.service import Request
from moa_mcp.store.ledger import OverBudget, Spend
from moa_mcp.store.memory import MemoryStore
from moa_mcp.store.sqlite import SqliteStore
from moa_mcp.testing.scripted import Gate, ScriptedProvider
from tests.service.place import PRESET, said, service_of

ASK = Request("Q?", preset=PRESET)


async def test_two_who_ask_the_same_at_once_share_one_run(tmp_path: Path) -> None:
    provider, runs = ScriptedProvider(said), list[Run]()
    async with service_of(tmp_path, provider, SqliteStore(tmp_path / "runs.db")) as service:

        async def ask() -> None:
            runs.append(await service.ask(ASK))

        async with anyio.create_task_group() as group:
            group.start_soon(ask)
            group.start_soon(ask)

    assert len(provider.calls) == 5
    assert runs[0].run_id == runs[1].run_id
    await service.store.aclose()


async def test_the_same_question_a_moment_later_is_cached_and_fresh_asks_anew(tmp_path: Path) -> None:
    provider = ScriptedProvider(said)
    async with service_of(tmp_path, provider, MemoryStore()) as service:
        first, again = await service.ask(ASK), await service.ask(ASK)
        fresh = await service.ask(Request("Q?", preset=PRESET, fresh=True))

    assert (first.cached, again.cached, fresh.cached) == (False, True, False)
    assert (again.run_id == first.run_id, fresh.run_id == first.run_id) == (True, False)
    assert len(provider.calls) == 10


async def test_another_owner_gets_a_run_of_their_own(tmp_path: Path) -> None:
    async with service_of(tmp_path, ScriptedProvider(said), MemoryStore()) as service:
        anns, bobs = await service.ask(ASK, owner="ann"), await service.ask(ASK, owner="bob")
        with pytest.raises(UnknownRun):
            await service.collect(anns.run_id, owner="bob")
        latest = await service.latest(owner="bob")

    assert (bobs.cached, latest and latest.run_id) == (False, bobs.run_id)


async def test_a_run_of_another_server_is_waited_for_and_not_bought_again(tmp_path: Path) -> None:
    file, idle = tmp_path / "runs.db", ScriptedProvider(said)
    gate = Gate(ScriptedProvider(said), lambda call: True)
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


async def test_a_conversation_carries_questions_and_answers_and_no_drafts(tmp_path: Path) -> None:
    provider = ScriptedProvider(said)
    async with service_of(tmp_path, provider, MemoryStore()) as service:
        one = await service.ask(ASK)
        two = await service.ask(Request("And?", preset=PRESET, continue_from=one.run_id))
        three = await service.ask(Request("So?", preset=PRESET, continue_from=two.run_id))

    turns = [(turn.speaker, turn.text) for turn in three.task.history]
    assert turns == [("user", "Q?"), ("assistant", "<3.1>"), ("user", "And?"), ("assistant", "<3.1>")]


async def test_a_day_has_a_ceiling_and_an_ended_run_is_booked(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("limits: {max_calls_per_day: 8}\n", encoding="utf-8")
    provider = ScriptedProvider(said)
    async with service_of(tmp_path, provider, MemoryStore()) as service:
        await service.ask(ASK)
        spent = await service.store.spent("local")
        with pytest.raises(OverBudget, match="max_calls_per_day"):
            await service.ask(Request("Another?", preset=PRESET))

    assert (spent, len(provider.calls)) == (Spend(5, 0, 0.0), 5)


async def test_a_run_is_not_forgotten_while_it_goes_on(tmp_path: Path) -> None:
    gate = Gate(ScriptedProvider(said), lambda call: True)
    async with service_of(tmp_path, gate, MemoryStore()) as service:
        run = await service.ask(ASK, wait_seconds=0)
        with pytest.raises(InvalidRequest, match="going on"):
            await service.remove(run.run_id)
        await service.cancel(run.run_id)
        await service.remove(run.run_id)
        with pytest.raises(UnknownRun):
            await service.collect(run.run_id)
