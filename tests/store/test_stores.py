"""What every store of runs does, in memory and on disk alike."""

import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from moa_mcp.domain.errors import Reason
from moa_mcp.domain.model import CallRecord, ChatCall, Draft, Failure, Message, PanelCall, Run, Task, Usage
from moa_mcp.domain.preset import Preset
from moa_mcp.store.base import RunStore
from moa_mcp.store.fallback import FallbackStore
from moa_mcp.store.memory import MemoryStore
from moa_mcp.store.sqlite.store import SqliteStore
from tests.admission import begin, claim

PLAN = Preset.model_validate(
    {
        "name": "p",
        "proposers": ["lab/a", {"method": "tree-search", "model": "lab/b"}],
        "aggregator": "lab/agg",
        "conclude": {"by": "select", "for": "consistent"},
    }
)


def a_run(run_id: str = "r1", owner: str = "ann", created_at: float = 1.0, key: str = "k") -> Run:
    return Run(run_id, "p", PLAN, Task("Q 😀?", seed=2**63 + 1), owner=owner, created_at=created_at, key=key)


def a_record(identity: str = "1.1") -> CallRecord:
    outcome = Draft("text", "served", "stop", Usage(1, 2, 0.5), method={"kept": [1, 2]})
    return CallRecord(ChatCall(identity, "proposer", 1, 1, "lab/a", (Message("user", "Q"),)), outcome, 1.5)


@pytest.fixture(params=["memory", "sqlite", "resilient"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[RunStore]:
    file = tmp_path / "runs" / "runs.db"
    opened: RunStore
    match request.param:
        case "memory":
            opened = MemoryStore()
        case "sqlite":
            opened = SqliteStore(file)
        case _:
            opened = FallbackStore(file, lambda: SqliteStore(file))
    yield opened
    assert not opened.warnings()
    await opened.aclose()


async def test_a_run_comes_back_with_its_calls_in_the_order_they_ended(store: RunStore) -> None:
    await begin(store, a_run())
    await store.add_records("r1", [a_record("1.2")])
    await store.add_records("r1", [a_record("1.1")])

    run = await store.get("ann", "r1")

    assert run is not None
    assert [record.call.id for record in run.calls] == ["1.2", "1.1"]
    assert run.calls[0].outcome == a_record().outcome
    assert (run.plan, run.task) == (PLAN, a_run().task)


async def test_how_a_run_ended_is_kept(store: RunStore) -> None:
    await begin(store, a_run())
    await store.add_records("r1", [CallRecord(a_record().call, Failure(Reason.AUTH, "401"), 0.1)])
    ended = replace(a_run(), status="failed", error="no", notes=("n",), method={"m": 1})
    await store.finish(replace(ended, calls=((await _got(store)).calls)))

    run = await _got(store)

    assert (run.status, run.error, run.notes, run.method) == ("failed", "no", ("n",), {"m": 1})
    assert run.calls[0].outcome == Failure(Reason.AUTH, "401")


async def test_panels_are_kept_apart_from_calls(store: RunStore) -> None:
    await begin(store, a_run())
    panel = CallRecord(PanelCall("1.2", "proposer", 1, 2, "panel/x", ()), Draft("text"), 1.0)
    await store.add_records("r1", [panel])

    run = await _got(store)

    assert (len(run.calls), len(run.panels)) == (0, 1)


async def test_an_owner_cannot_read_find_list_claim_or_remove_the_run_of_another(store: RunStore) -> None:
    await begin(store, a_run())
    await store.finish(replace(a_run(), status="interrupted"))

    assert await store.get("bob", "r1") is None
    assert await store.find("bob", "k", 0) is None
    assert await store.latest("bob") is None
    assert list(await store.list("bob")) == []
    assert await store.count("bob") == 0
    assert await claim(store, "bob", "r1") is None
    assert not await store.remove("bob", "r1")
    assert await store.get("ann", "r1") is not None


async def test_the_newest_run_is_the_latest_and_first_in_the_list(store: RunStore) -> None:
    for number in (1, 2, 3):
        await begin(store, a_run(f"r{number}", created_at=number))

    assert await latest(store) == "r3"
    assert [run.run_id for run in await store.list("ann", limit=2)] == ["r3", "r2"]
    assert await store.count("ann") == 3


async def test_the_run_that_its_owner_is_given_is_the_latest_until_another_begins(store: RunStore) -> None:
    for number in (1, 2, 3):
        await begin(store, a_run(f"r{number}", created_at=number))
    await store.make_latest("ann", "r1")
    given = await latest(store)
    listed = [run.run_id for run in await store.list("ann")]
    await begin(store, a_run("r4", created_at=4))

    assert (given, await latest(store)) == ("r1", "r4")
    assert listed == ["r3", "r2", "r1"]


async def test_after_the_given_run_is_removed_the_newest_is_the_latest(store: RunStore) -> None:
    for number in (1, 2, 3):
        await begin(store, a_run(f"r{number}"))
    await store.make_latest("ann", "r1")
    await store.remove("ann", "r3")
    given = await latest(store)
    await store.remove("ann", "r1")

    assert (given, await latest(store)) == ("r1", "r2")


async def test_a_run_that_is_resumed_is_the_latest(store: RunStore) -> None:
    await begin(store, a_run())
    await store.finish(replace(a_run(), status="interrupted"))
    await begin(store, a_run("r2"))
    await claim(store, "ann", "r1")

    assert await latest(store) == "r1"


async def test_an_owner_cannot_make_the_run_of_another_the_latest(store: RunStore) -> None:
    await begin(store, a_run())
    await begin(store, a_run("r2"))
    await store.make_latest("bob", "r1")

    assert (await latest(store), await latest(store, "bob")) == ("r2", None)


async def test_a_run_from_a_clock_that_was_ahead_is_neither_newer_nor_younger_than_those_after_it(
    store: RunStore,
) -> None:
    now = time.time()
    await begin(store, a_run("ahead", created_at=now + 10**6))
    stands = await store.find("ann", "k", now - 600)
    await begin(store, a_run("now", created_at=now))

    assert stands is None
    assert [run.run_id for run in await store.list("ann")] == ["now", "ahead"]
    assert await latest(store) == "now"
    found = await store.find("ann", "k", now - 600)
    assert found is not None
    assert found.run_id == "now"


async def test_a_run_of_before_the_clock_was_set_back_a_little_is_found(store: RunStore) -> None:
    now = time.time()
    await begin(store, a_run(created_at=now + 5))

    assert await store.find("ann", "k", now - 600) is not None


async def test_a_run_is_found_by_its_key_if_it_is_young_enough(store: RunStore) -> None:
    await begin(store, a_run(created_at=100))

    assert await store.find("ann", "k", 100) is not None
    assert await store.find("ann", "k", 101) is None
    assert await store.find("ann", "other", 0) is None


async def test_a_removed_run_is_gone_with_its_calls(store: RunStore) -> None:
    await begin(store, a_run())
    await store.add_records("r1", [a_record()])

    assert await store.remove("ann", "r1")
    assert await store.get("ann", "r1") is None
    assert not await store.remove("ann", "r1")


async def test_an_interrupted_run_is_claimed_once(store: RunStore) -> None:
    await begin(store, a_run())
    await store.add_records("r1", [a_record()])
    await store.finish(replace(await _got(store), status="interrupted", error="gone"))

    claimed = await claim(store, "ann", "r1")

    assert claimed is not None
    assert (claimed.status, len(claimed.calls)) == ("running", 1)
    assert await claim(store, "ann", "r1") is None


async def test_a_run_that_is_not_interrupted_is_not_claimed(store: RunStore) -> None:
    await begin(store, a_run())

    assert await claim(store, "ann", "r1") is None
    assert await claim(store, "ann", "unknown") is None


async def latest(store: RunStore, owner: str = "ann") -> str | None:
    run = await store.latest(owner)
    return run.run_id if run else None


async def _got(store: RunStore) -> Run:
    run = await store.get("ann", "r1")
    assert run is not None
    return run
