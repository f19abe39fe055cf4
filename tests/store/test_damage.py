"""A file that is damaged, of another version or incomplete is repaired, only read or set aside, with a warning."""

import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.clearing import fill
from moa_mcp.domain.model import CallRecord, ChatCall, Draft, Run, Task
from moa_mcp.domain.preset import Preset
from moa_mcp.store.base import Faults
from moa_mcp.store.fallback import FallbackStore
from moa_mcp.store.memory import MemoryStore
from moa_mcp.store.sqlite.database import CHECKED_BYTES
from moa_mcp.store.sqlite.schema import VERSION
from moa_mcp.store.sqlite.store import SqliteStore
from tests.admission import begin

PLAN = Preset.model_validate({"layers": 1, "aggregator": "lab/agg"})


def a_run(run_id: str = "r1", created_at: float = 1.0) -> Run:
    return Run(run_id, "p", PLAN, Task("Q?"), owner="ann", created_at=created_at)


def a_record(text: str = "draft") -> CallRecord:
    return CallRecord(ChatCall("1.1", "proposer", 1, 1, "lab/a", ()), Draft(text), 1.0)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "home" / "runs.db"


def resilient(file: Path) -> FallbackStore:
    return FallbackStore(file, lambda: SqliteStore(file))


@pytest.mark.parametrize("damage", [b"garbage" * 1000, b"\x00" * 4096])
async def test_a_damaged_file_is_set_aside_and_reported_once(file: Path, damage: bytes) -> None:
    file.parent.mkdir(mode=0o700)
    file.write_bytes(damage)

    store = resilient(file)
    await begin(store, a_run())

    assert await store.get("ann", "r1") is not None
    assert "set aside" in "".join(store.warnings())
    assert len(store.warnings()) == 1
    assert file.with_name("runs.db.corrupt-1").read_bytes() == damage
    await store.aclose()


async def test_a_page_flipped_in_the_middle_is_noticed_at_the_start(file: Path) -> None:
    store = SqliteStore(file)
    for number in range(50):
        await begin(store, a_run(f"r{number}"))
        await store.add_records(f"r{number}", [a_record("y" * 3000)])
    await store.aclose()
    content = bytearray(file.read_bytes())
    content[20_000:40_000] = b"\xff" * 20_000
    file.write_bytes(bytes(content))

    again = resilient(file)
    await begin(again, a_run("new"))

    assert "damaged" in "".join(again.warnings())
    assert await again.get("ann", "new") is not None
    await again.aclose()


async def test_damage_in_a_large_file_is_noticed_when_it_is_read(file: Path) -> None:
    file.parent.mkdir(mode=0o700)
    await fill(file, 1500)
    content = bytearray(file.read_bytes())
    half = len(content) // 2
    content[half : half + 100_000] = b"\xff" * 100_000
    file.write_bytes(bytes(content))

    store = resilient(file)
    await begin(store, a_run())
    at_first = store.warnings()
    await store.list("local", limit=1500)

    assert len(content) > CHECKED_BYTES
    assert not at_first
    assert "set aside" in "".join(store.warnings())
    await store.aclose()


async def broken(file: Path, *statements: str) -> FallbackStore:
    """The store of a file that had one run, and to which somebody did all that."""
    store = SqliteStore(file)
    await begin(store, a_run("before"))
    await store.finish(replace(a_run("before"), status="completed", answer="yes"))
    await store.aclose()
    with closing(sqlite3.connect(file)) as db, db:
        for statement in statements:
            db.execute(statement)
    return resilient(file)


@pytest.mark.parametrize("table", ["servers", "records", "days", "holds", "given"])
async def test_a_file_that_lacks_a_table_gets_an_empty_one_and_keeps_its_runs(file: Path, table: str) -> None:
    store = await broken(file, f"DROP TABLE {table}")
    await begin(store, a_run("now"))
    await store.add_records("now", [a_record()])
    runs = [(run.run_id, run.answer, len(run.calls)) for run in await store.list("ann")]
    [message] = store.warnings()
    await store.aclose()

    assert runs == [("now", None, 1), ("before", "yes", 0)]
    assert message == f"The store runs.db has lost the content of {table}, and goes on without it."
    again = resilient(file)
    assert len(await again.list("ann")) == 2
    assert not again.warnings()
    await again.aclose()


@pytest.mark.parametrize("lost", ["INDEX runs_of_key", "TRIGGER run_deleted"])
async def test_a_missing_index_is_created_without_a_warning(file: Path, lost: str) -> None:
    store = await broken(file, f"DROP {lost}")
    assert len(await store.list("ann")) == 1
    assert not store.warnings()
    await store.aclose()
    with closing(sqlite3.connect(file)) as db:
        assert db.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (lost.split()[1],)).fetchone()


@pytest.mark.parametrize(
    "damage",
    [
        ("ALTER TABLE holds DROP COLUMN live",),
        ("DROP TABLE runs", "CREATE TABLE runs (other TEXT)"),
        ("PRAGMA user_version = 0",),
    ],
)
async def test_a_file_whose_tables_are_not_ours_is_set_aside(file: Path, damage: tuple[str, ...]) -> None:
    store = await broken(file, *damage)
    await begin(store, a_run("now"))

    assert [run.run_id for run in await store.list("ann")] == ["now"]
    assert "set aside as runs.db.corrupt-1" in "".join(store.warnings())
    await store.aclose()


async def test_half_a_file_does_not_cost_an_answer(file: Path) -> None:
    store = SqliteStore(file)
    for number in range(50):
        await begin(store, a_run(f"r{number}"))
    await store.aclose()
    file.write_bytes(file.read_bytes()[:6000])

    again = resilient(file)
    await begin(again, a_run("new"))

    assert await again.get("ann", "new") is not None
    await again.aclose()


async def test_an_empty_file_is_a_new_store(file: Path) -> None:
    file.parent.mkdir(mode=0o700)
    file.touch()

    store = resilient(file)
    await begin(store, a_run())

    assert not store.warnings()
    await store.aclose()


async def test_a_store_of_a_newer_version_is_read_and_never_changed(file: Path) -> None:
    store = SqliteStore(file)
    await begin(store, a_run("before"))
    await store.aclose()
    with sqlite3.connect(file) as db:
        db.execute(f"PRAGMA user_version = {VERSION + 1}")
    db.close()
    content = file.read_bytes()

    newer = resilient(file)
    await begin(newer, a_run("now"))

    assert await newer.get("ann", "before") is not None
    assert await newer.get("ann", "now") is not None
    assert "newer" in "".join(newer.warnings())
    assert file.read_bytes() == content
    await newer.aclose()


class LineIsDown(Exception):
    """What a store of a kind of its own raises when it cannot be reached."""


class Unreachable(MemoryStore):
    async def count(self, owner: str) -> int:
        raise LineIsDown("the line is down")


async def test_a_store_declares_which_errors_mean_that_it_is_out_of_order(tmp_path: Path) -> None:
    declared = FallbackStore(tmp_path / "far", Unreachable, Faults((LineIsDown,)))

    assert await declared.count("local") == 0
    assert "the line is down" in "".join(declared.warnings())
    with pytest.raises(LineIsDown):
        await FallbackStore(tmp_path / "far", Unreachable, Faults((KeyError,))).count("local")
