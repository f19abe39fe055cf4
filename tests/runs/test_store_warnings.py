"""What is wrong with the store is noted in the runs of those whom it concerns, once for each."""

import sqlite3
from contextlib import closing
from pathlib import Path

from moa_mcp.domain.model import Run, Task
from moa_mcp.domain.preset import Aggregator, Preset, Proposer
from moa_mcp.runs.scheduler import RunScheduler, open_scheduler
from moa_mcp.store.fallback import FallbackStore
from moa_mcp.store.sqlite.store import SqliteStore
from moa_mcp.testing import ScriptedProvider
from tests.admission import started

PRESET = Preset(name="one", proposers=(Proposer(model="lab/p"),), aggregator=Aggregator(model="lab/agg"))


async def notes_of_a_run(scheduler: RunScheduler, number: int, owner: str) -> str:
    """The notes of a run from its beginning to its end."""
    run = Run(f"run{number}", "one", PRESET, Task("Q?"), owner=owner)
    return " ".join((await scheduler.wait(await started(scheduler, run), 5)).notes)


async def test_a_damaged_store_is_reported_once_to_each_owner(tmp_path: Path) -> None:
    file = tmp_path / "runs.db"
    file.write_bytes(b"garbage" * 1000)
    store = FallbackStore(file, lambda: SqliteStore(file))
    async with open_scheduler(lambda run: ScriptedProvider(lambda call: "text"), store) as scheduler:
        notes = [await notes_of_a_run(scheduler, number, owner) for number, owner in enumerate(["ann", "bob"] * 2)]
    await store.aclose()

    assert ["set aside" in note for note in notes] == [True, True, False, False]


async def test_a_store_that_cannot_be_used_for_a_while_is_reported_to_the_owners_of_runs_it_did_not_take(
    tmp_path: Path,
) -> None:
    file = tmp_path / "runs.db"
    store = FallbackStore(file, lambda: SqliteStore(file))
    async with open_scheduler(lambda run: ScriptedProvider(lambda call: "text"), store) as scheduler:
        await notes_of_a_run(scheduler, 1, "ann")
        with closing(sqlite3.connect(file)) as db, db:
            db.execute("ALTER TABLE runs RENAME TO hidden")
        hers = await notes_of_a_run(scheduler, 2, "ann")
        with closing(sqlite3.connect(file)) as db, db:
            db.execute("ALTER TABLE hidden RENAME TO runs")
        his = await notes_of_a_run(scheduler, 3, "bob")
    await store.aclose()

    assert "in memory only" in hers
    assert "in memory only" not in his
    assert "in memory only" in " ".join(store.warnings())
