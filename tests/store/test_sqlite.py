"""What only the store on disk does: it outlives its server, and shares its file."""

import os
import sqlite3
import stat
import subprocess
import sys
import threading
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from moa_mcp.domain.model import CallRecord, ChatCall, Draft, Run, Task, Usage
from moa_mcp.domain.preset import Preset
from moa_mcp.domain.spend import Spend
from moa_mcp.store.base import AdmittedRun
from moa_mcp.store.daily_budget import OverBudget, ReservationRequest
from moa_mcp.store.fallback import FallbackStore
from moa_mcp.store.sqlite.database import Database
from moa_mcp.store.sqlite.store import SqliteStore
from tests.admission import begin, claim

PLAN = Preset.model_validate({"layers": 1, "aggregator": "lab/agg"})
DAY = 86_400.0


def a_run(run_id: str = "r1", created_at: float = 1.0) -> Run:
    return Run(run_id, "p", PLAN, Task("Q?"), owner="ann", created_at=created_at)


def a_record(text: str = "draft") -> CallRecord:
    return CallRecord(ChatCall("1.1", "proposer", 1, 1, "lab/a", ()), Draft(text), 1.0)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "home" / "runs.db"


def resilient(file: Path) -> FallbackStore:
    return FallbackStore(file, lambda: SqliteStore(file))


async def test_runs_outlive_the_store_that_wrote_them(file: Path) -> None:
    first = SqliteStore(file)
    await begin(first, a_run())
    await first.finish(replace(a_run(), status="completed", answer="yes"))
    await first.aclose()

    again = SqliteStore(file)
    run = await again.get("ann", "r1")
    await again.aclose()

    assert run is not None
    assert run.answer == "yes"


async def test_a_run_of_a_server_that_is_gone_is_interrupted_and_can_be_claimed(file: Path) -> None:
    script = (
        "import anyio, os, sys\n"
        "from pathlib import Path\n"
        "from moa_mcp.domain.model import *\n"
        "from moa_mcp.domain.preset import Preset\n"
        "from moa_mcp.domain.spend import Spend\n"
        "from moa_mcp.store.daily_budget import ReservationRequest\n"
        "from moa_mcp.store.sqlite.store import SqliteStore\n"
        "async def main():\n"
        "    store = SqliteStore(Path(sys.argv[1]))\n"
        "    plan = Preset.model_validate({'layers': 1, 'aggregator': 'lab/agg'})\n"
        "    nothing = ReservationRequest('ann', 'r1', Spend(), Spend(9, 9), None, 0)\n"
        "    await store.admit(Run('r1', 'p', plan, Task('Q?'), owner='ann'), nothing)\n"
        "    call = ChatCall('1.1', 'proposer', 1, 1, 'lab/a', ())\n"
        "    await store.add_records('r1', [CallRecord(call, Draft('paid'), 1.0)])\n"
        "    os._exit(0)\n"
        "anyio.run(main)\n"
    )
    subprocess.run([sys.executable, "-c", script, str(file)], check=True, timeout=30)
    store = SqliteStore(file)

    found = await store.get("ann", "r1")
    claimed = await claim(store, "ann", "r1")
    await store.aclose()

    assert found is not None
    assert claimed is not None
    assert (found.status, claimed.status) == ("interrupted", "running")
    assert [record.outcome for record in claimed.calls] == [Draft("paid")]


async def test_a_run_of_a_living_sibling_is_running_and_cannot_be_claimed(file: Path) -> None:
    sibling, store = SqliteStore(file), SqliteStore(file)
    await begin(sibling, a_run())

    found = await store.get("ann", "r1")

    assert found is not None
    assert found.status == "running"
    assert await claim(store, "ann", "r1") is None
    await sibling.aclose()
    await store.aclose()


async def test_a_server_without_heartbeats_counts_as_gone_even_if_its_process_id_is_in_use(
    file: Path,
) -> None:
    sibling, store = SqliteStore(file, clock=lambda: 0.0), SqliteStore(file, clock=lambda: 1000.0)
    await begin(sibling, a_run())

    found = await store.get("ann", "r1")

    assert found is not None
    assert found.status == "interrupted"
    await sibling.aclose()
    await store.aclose()


async def test_files_and_folders_are_the_owners_alone(file: Path) -> None:
    store = SqliteStore(file)
    await begin(store, a_run())
    await store.aclose()

    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    for made in file.parent.iterdir():
        assert stat.S_IMODE(made.stat().st_mode) == 0o600, made.name


async def test_a_full_disk_does_not_cost_an_answer(file: Path) -> None:
    class Full(SqliteStore):
        def __init__(self) -> None:
            super().__init__(file)
            with sqlite3.connect(file) as db:
                (pages,) = db.execute("PRAGMA page_count").fetchone()
            db.close()
            self._database._db.execute(f"PRAGMA max_page_count = {pages}")  # pyright: ignore[reportPrivateUsage] # the only way to fill a disk here

    store = FallbackStore(file, Full)
    await begin(store, a_run())
    await store.add_records("r1", [a_record("z" * 1_000_000)])
    await store.finish(replace(a_run(), status="completed", answer="yes", calls=(a_record("z" * 1_000_000),)))

    run = await store.get("ann", "r1")

    assert run is not None
    assert run.answer == "yes"
    assert "full" in "".join(store.warnings())
    await store.aclose()


async def test_a_run_that_only_memory_could_take_is_the_latest_and_the_newest_until_the_disk_takes_one(
    file: Path,
) -> None:
    store = resilient(file)
    await begin(store, a_run("ahead", created_at=9e12))
    with closing(sqlite3.connect(file)) as db, db:
        db.execute("ALTER TABLE runs RENAME TO hidden")
    await begin(store, a_run("in memory", created_at=2))
    with closing(sqlite3.connect(file)) as db, db:
        db.execute("ALTER TABLE hidden RENAME TO runs")
    seen = [(await _latest(store)), [run.run_id for run in await store.list("ann")]]
    await store.make_latest("ann", "ahead")
    given = await _latest(store)
    await begin(store, a_run("on disk", created_at=3))

    assert seen == ["in memory", ["in memory", "ahead"]]
    assert (given, await _latest(store)) == ("ahead", "on disk")
    await store.make_latest("ann", "in memory")
    assert await _latest(store) == "in memory"
    await store.aclose()


async def _latest(store: FallbackStore) -> str | None:
    run = await store.latest("ann")
    return run.run_id if run else None


@pytest.mark.skipif(os.name == "nt", reason="a file stands in the folder's place")
async def test_a_home_that_cannot_be_made_leaves_the_runs_in_memory(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("not a folder")

    store = resilient(tmp_path / "home" / "runs.db")
    await begin(store, a_run())

    assert await store.get("ann", "r1") is not None
    assert "in memory only" in "".join(store.warnings())
    await store.aclose()


def test_eight_processes_open_and_write_one_new_file_without_an_error(file: Path) -> None:
    script = (
        "import anyio, sys, time\n"
        "from pathlib import Path\n"
        "from moa_mcp.domain.model import *\n"
        "from moa_mcp.domain.preset import Preset\n"
        "from moa_mcp.domain.spend import Spend\n"
        "from moa_mcp.store.daily_budget import ReservationRequest\n"
        "from moa_mcp.store.sqlite.store import SqliteStore\n"
        "async def main():\n"
        "    store = SqliteStore(Path(sys.argv[1]))\n"
        "    plan = Preset.model_validate({'layers': 1, 'aggregator': 'lab/agg'})\n"
        "    for n in range(20):\n"
        "        run = Run(f'{sys.argv[2]}-{n}', 'p', plan, Task('Q?'), owner='ann', created_at=time.time())\n"
        "        await store.admit(run, ReservationRequest('ann', run.run_id, Spend(), Spend(9, 9), None, 0))\n"
        "        call = ChatCall('1.1', 'proposer', 1, 1, 'a/b', ())\n"
        "        await store.add_records(run.run_id, [CallRecord(call, Draft('d'), 1.0)])\n"
        "    await store.prune()\n"
        "    await store.aclose()\n"
        "anyio.run(main)\n"
    )
    writers = [
        subprocess.Popen([sys.executable, "-c", script, str(file), str(n)], stderr=subprocess.PIPE) for n in range(8)
    ]
    errors = [writer.communicate(timeout=60)[1] for writer in writers]

    assert [writer.returncode for writer in writers] == [0] * 8, errors
    with sqlite3.connect(file) as db:
        assert db.execute("SELECT count(*) FROM records").fetchone() == (160,)
    db.close()


async def test_a_write_whose_caller_has_left_takes_no_other_write_along(file: Path) -> None:
    database = Database(file)
    await database.write(lambda db: db.execute("CREATE TABLE said (who TEXT)"))
    free, message = threading.Event(), list[str]()

    async def write(who: str, scope: anyio.CancelScope) -> None:
        with scope:
            await database.write(lambda db: db.execute("INSERT INTO said VALUES (?)", (who,)))
            message.append(who)

    def hold_up(db: sqlite3.Connection) -> bool:
        return free.wait(5)

    first, second = anyio.CancelScope(), anyio.CancelScope()
    async with anyio.create_task_group() as group:
        group.start_soon(database.run, hold_up)
        await anyio.wait_all_tasks_blocked()
        group.start_soon(write, "first", first)
        await anyio.wait_all_tasks_blocked()
        group.start_soon(write, "second", second)
        group.start_soon(write, "third", anyio.CancelScope())
        await anyio.wait_all_tasks_blocked()
        for scope in (first, second):
            scope.cancel()
            await anyio.wait_all_tasks_blocked()
        free.set()
    kept = await database.run(lambda db: db.execute("SELECT who FROM said").fetchall())
    await database.aclose()

    assert "third" in message
    assert ("third",) in kept
    assert {who for (who,) in kept} >= set(message)


async def test_of_writes_that_are_committed_together_one_that_fails_takes_no_other_along(file: Path) -> None:
    store = SqliteStore(file)
    await begin(store, a_run())
    refused: list[str] = []

    async def admit_beyond_the_day() -> None:
        too_much = ReservationRequest("ann", "r2", Spend(calls=2), Spend(calls=2), Spend(1, 10**6, 1.0), DAY)
        try:
            await store.admit(a_run("r2"), too_much)
        except OverBudget:
            refused.append("r2")

    async with anyio.create_task_group() as writes:
        writes.start_soon(store.add_records, "r1", [a_record("before")])
        writes.start_soon(admit_beyond_the_day)
        writes.start_soon(store.finish, replace(a_run(), status="completed", answer="after"))
    runs = await store.list("ann")
    await store.aclose()

    assert refused == ["r2"]
    assert [(run.run_id, run.answer, len(run.calls)) for run in runs] == [("r1", "after", 1)]


async def test_a_server_that_was_silent_for_too_long_adds_nothing_to_the_run_that_another_took_over(file: Path) -> None:
    now = [1000.0]
    silent, other = SqliteStore(file, clock=lambda: now[0]), SqliteStore(file, clock=lambda: now[0])
    await begin(silent, a_run())
    now[0] += 31
    assert await claim(other, "ann", "r1") is not None

    added = await silent.add_records("r1", [a_record("1.1")])
    await silent.finish(replace(a_run(), status="completed", answer="mine"))

    run = await other.get("ann", "r1")
    assert not added
    assert run is not None
    assert (run.status, run.answer, run.calls) == ("running", None, ())
    await silent.aclose()
    await other.aclose()


async def test_a_newest_run_that_cannot_be_read_does_not_hide_the_one_before(file: Path) -> None:
    store = SqliteStore(file)
    await begin(store, a_run("old", created_at=1))
    await begin(store, a_run("new", created_at=2))
    with closing(sqlite3.connect(file)) as db, db:
        db.execute("UPDATE runs SET body = '{}' WHERE run_id = 'new'")

    latest = await store.latest("ann")

    assert latest is not None
    assert latest.run_id == "old"
    await store.aclose()


async def test_what_was_spent_on_disk_is_not_forgotten_while_the_disk_cannot_be_used(file: Path) -> None:
    store, cap = resilient(file), Spend(10, 1000, 1.0)
    asked = ReservationRequest("ann", "r1", Spend(1, 1, 0.6), Spend(1, 1, 0.6), cap, until=9e9)
    first = await store.admit(a_run(), asked)
    assert isinstance(first, AdmittedRun)
    await store.settle(first.reservation, Spend(1, 1, 0.6))
    with closing(sqlite3.connect(file)) as db, db:
        db.execute("DROP TABLE holds")

    with pytest.raises(OverBudget):
        await store.admit(a_run("r2"), replace(asked, run_id="r2"))
    await store.aclose()


@pytest.mark.parametrize("by", ["remove", "prune"])
async def test_what_a_server_spent_that_is_gone_counts_though_its_run_is_forgotten(file: Path, by: str) -> None:
    now = [1000.0]
    dead, store = (SqliteStore(file, keep_days=1, clock=lambda: now[0]) for _ in range(2))
    cap, usage = Spend(100, 10**6, 10.0), Usage(1, 1, 5.0)
    wanted = ReservationRequest("ann", "r1", Spend(1, 1, 6.0), Spend(1, 1, 6.0), cap, until=1010.0)
    await dead.admit(a_run(created_at=-2 * DAY), wanted)
    await dead.add_records("r1", [CallRecord(a_record().call, Draft("d", usage=usage), 1.0)])
    await dead.aclose()
    now[0] += 100

    await (store.remove("ann", "r1") if by == "remove" else store.prune())

    assert await store.get("ann", "r1") is None
    assert await store.spent("ann") == Spend(1, 2, 5.0)
    await store.aclose()
