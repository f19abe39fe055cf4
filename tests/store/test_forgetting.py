"""The store on disk deletes old runs, runs that are too many, and runs that a user deletes, without a trace."""

import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from benchmarks.clearing import fill
from moa_mcp.domain.model import CallRecord, ChatCall, Draft, Run, Task
from moa_mcp.domain.preset import Preset
from moa_mcp.domain.spend import Spend
from moa_mcp.store.sqlite.store import SqliteStore
from tests.admission import begin

PLAN = Preset.model_validate({"layers": 1, "aggregator": "lab/agg"})
DAY = 86_400.0


def a_run(run_id: str, day: float) -> Run:
    return Run(run_id, "p", PLAN, Task("Q?"), owner="ann", created_at=day * DAY)


async def complete(store: SqliteStore, run: Run, draft: str = "draft") -> None:
    await begin(store, run)
    record = CallRecord(ChatCall("1.1", "proposer", 1, 1, "lab/a", ()), Draft(draft), 1.0)
    await store.add_records(run.run_id, [record])
    await store.finish(replace(run, status="completed", answer=draft))


async def test_old_runs_are_forgotten_and_running_ones_are_not(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "runs.db", keep_days=30, clock=lambda: 100 * DAY)
    for run_id, day in (("old", 1), ("young", 99)):
        await complete(store, a_run(run_id, day))
    await begin(store, a_run("going", 1))

    gone = await store.prune()
    left = {run.run_id for run in await store.list("ann")}
    await store.aclose()

    assert (gone, left) == (1, {"young", "going"})


async def test_a_store_that_is_too_large_forgets_the_oldest_runs(tmp_path: Path) -> None:
    file = tmp_path / "runs.db"
    store = SqliteStore(file, max_mb=0.5, clock=lambda: 10.0 * DAY)
    for number in range(10):
        await complete(store, a_run(f"r{number}", number), "x" * 50_000)

    await store.prune()
    left = [run.run_id for run in await store.list("ann")]
    await store.aclose()

    assert left
    assert left[0] == "r9"
    assert "r0" not in left
    assert file.stat().st_size <= 0.5 * 1024 * 1024


async def test_other_servers_admit_runs_while_a_full_store_is_cleared(tmp_path: Path) -> None:
    file = tmp_path / "runs.db"
    await fill(file, 1000)
    store, other = SqliteStore(file, max_mb=0), SqliteStore(file)
    gone, left = list[int](), list[Run]()

    async def clear() -> None:
        gone.append(await store.prune())

    async with anyio.create_task_group() as group:
        group.start_soon(clear)
        await anyio.wait_all_tasks_blocked()
        await begin(other, a_run("meanwhile", 1))
        left += await other.list("local")
    kept = [run.run_id for run in await other.list("ann")]
    await store.aclose()
    await other.aclose()

    assert left
    assert (gone, kept) == ([1000], ["meanwhile"])


async def test_a_run_with_a_future_date_is_deleted_with_the_runs_that_started_after_it(tmp_path: Path) -> None:
    now = 10 * DAY
    store = SqliteStore(tmp_path / "runs.db", keep_days=30, clock=lambda: now)
    for run_id, day in (("ahead", 1000), ("after", 10), ("ahead too", 1000)):
        await complete(store, a_run(run_id, day))
    early = await store.prune()
    now = 50 * DAY
    gone = await store.prune()
    left = [run.run_id for run in await store.list("ann")]
    await store.aclose()

    assert (early, gone, left) == (0, 2, ["ahead too"])


async def test_a_store_that_is_too_large_loses_the_runs_that_were_admitted_first_and_not_those_with_the_oldest_date(
    tmp_path: Path,
) -> None:
    store = SqliteStore(tmp_path / "runs.db", max_mb=0.5, clock=lambda: 10.0 * DAY)
    for number, day in enumerate((1000, 5, 6, 7, 8, 9)):
        await complete(store, a_run(f"r{number}", day), "x" * 100_000)
    await store.prune()
    left = {run.run_id for run in await store.list("ann")}
    await store.aclose()

    assert "r0" not in left
    assert "r5" in left


@pytest.mark.parametrize("by", ["removal", "pruning"])
async def test_what_is_forgotten_is_in_no_file_any_more(tmp_path: Path, by: str) -> None:
    store = SqliteStore(tmp_path / "runs.db", keep_days=30, clock=lambda: 100 * DAY)
    await complete(store, a_run("r1", 1), "what nobody may read")
    before = everything_in(tmp_path)

    await (store.remove("ann", "r1") if by == "removal" else store.prune())
    after = everything_in(tmp_path)
    await store.aclose()

    assert b"what nobody may read" in before
    assert b"what nobody may read" not in after


async def test_pruning_forgets_days_long_past_and_servers_long_gone(tmp_path: Path) -> None:
    file, now = tmp_path / "runs.db", DAY
    first = SqliteStore(file, clock=lambda: now)
    await complete(first, a_run("r1", 1))
    await first.settle((await begin(first, a_run("r2", 1))).reservation, Spend(calls=3))
    before = rows_of(file, "days"), rows_of(file, "servers")
    await first.aclose()

    now = 100 * DAY
    later = SqliteStore(file, clock=lambda: now)
    await later.prune()
    await later.aclose()

    assert before == (1, 1)
    assert (rows_of(file, "days"), rows_of(file, "servers")) == (0, 0)


def rows_of(file: Path, table: str) -> int:
    with closing(sqlite3.connect(file)) as db:
        (count,) = db.execute(f"SELECT count(*) FROM {table}").fetchone()
    return int(count)


def everything_in(folder: Path) -> bytes:
    return b"".join(made.read_bytes() for made in folder.iterdir())
