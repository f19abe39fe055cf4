"""A store that an older version wrote is backed up, brought up to date, read, and gone on with."""

import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest

from moa_mcp.store.fallback import FallbackStore
from moa_mcp.store.sqlite.schema import VERSION, version_of
from moa_mcp.store.sqlite.store import SqliteStore
from moa_mcp.testing.scripted import ScriptedProvider
from tests.service.fixtures import reply_to, service_of

VERSION_2 = Path(__file__).parent.parent / "data" / "store.v2.sql"
"""The dump of a store that schema version 2 wrote: a run of five calls that completed, and one whose server was killed
when it had three of its five."""

NESTED_VERSION_2 = VERSION_2.with_name("store.v2.nested.sql")
"""The same of a run whose server was killed before its last call: in its slots are a model, a panel whose judge was
asked again, and a chain of code; its drafts were compared by embeddings."""

COMPLETED = "a33445fb27210e3b1259a6560b9f8909"
NESTED = "930652be32acc423012d1ed222df1591"
INTERRUPTED = "5f19d24f09f8866f011295e4bd78bb1e"


def restored(folder: Path, dump: Path) -> Path:
    file = folder / "runs.db"
    with closing(sqlite3.connect(file)) as db:
        db.executescript(dump.read_text(encoding="utf-8"))
    return file


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return restored(tmp_path, VERSION_2)


@pytest.fixture
def nested(tmp_path: Path) -> Path:
    return restored(tmp_path, NESTED_VERSION_2)


async def test_the_runs_of_an_older_version_read_as_they_did(file: Path) -> None:
    store = SqliteStore(file)
    runs = await store.list("local")
    latest = await store.latest("local")
    await store.aclose()

    assert [(run.run_id, run.status, run.answer, len(run.calls)) for run in runs] == [
        (INTERRUPTED, "interrupted", None, 3),
        (COMPLETED, "completed", "<3.1>", 5),
    ]
    assert latest == runs[0]


async def test_an_interrupted_run_of_an_older_version_pays_only_for_what_is_missing(file: Path, tmp_path: Path) -> None:
    store, provider = SqliteStore(file), ScriptedProvider(reply_to)
    async with service_of(tmp_path, provider, store) as service:
        run = await service.collect(INTERRUPTED)
    await store.aclose()

    assert (run.status, run.answer, run.calls_made) == ("completed", "<3.1>", 5)
    assert [call.id for call in provider.calls] == ["2.2", "3.1"]


async def test_relations_that_older_versions_stored_only_in_ids_are_read(nested: Path) -> None:
    store = SqliteStore(nested)
    run = await store.get("local", NESTED)
    await store.aclose()

    assert run is not None
    assert [record.call.id for record in run.drafts] == ["1.1", "1.2", "1.3"]
    assert {record.call.id: (record.call.parent, record.call.repeat_of) for record in run.calls} == {
        "1.1": (None, None),
        "1.2/1.1": ("1.2", None),
        "1.2/1.2": ("1.2", None),
        "1.2/2.judge": ("1.2", None),
        "1.2/2.judge.again": ("1.2", "1.2/2.judge"),
        "1.3/program": ("1.3", None),
        "1.3/run.1": ("1.3", None),
        "1.3/words": ("1.3", None),
        "1.embedder.screen": (None, None),
    }


async def test_a_run_with_nested_calls_repeats_vectors_and_programs_of_an_older_version_goes_on(
    nested: Path, tmp_path: Path
) -> None:
    store, provider = SqliteStore(nested), ScriptedProvider(reply_to)
    async with service_of(tmp_path, provider, store) as service:
        run = await service.collect(NESTED)
    await store.aclose()

    assert (run.status, run.answer, run.degraded) == ("completed", "<2.1>", False)
    assert [call.id for call in provider.calls] == ["2.1"]
    assert run.method["screen"][0]["similarity"] == "embeddings"


async def test_before_a_store_is_migrated_it_is_backed_up_and_only_the_last_backup_is_kept(file: Path) -> None:
    older = file.with_name("runs.db.v1.bak")
    older.write_bytes(b"of before")
    await SqliteStore(file).aclose()
    backup = file.with_name("runs.db.v2.bak")

    assert not older.exists()
    assert stat.S_IMODE(backup.stat().st_mode) == 0o600
    with closing(sqlite3.connect(backup)) as copy, closing(sqlite3.connect(file)) as db:
        assert (version_of(copy), version_of(db)) == (2, VERSION)
        assert copy.execute("SELECT count(*) FROM records").fetchone() == (8,)


async def test_a_new_store_and_one_that_is_up_to_date_need_no_backup(tmp_path: Path) -> None:
    for _ in range(2):
        await SqliteStore(tmp_path / "runs.db").aclose()

    assert not list(tmp_path.glob("*.bak*"))


async def test_a_run_that_is_forgotten_is_forgotten_in_the_backup_which_goes_with_the_last(file: Path) -> None:
    store, backup = SqliteStore(file), file.with_name("runs.db.v2.bak")
    before = backup.read_bytes()
    await store.remove("local", COMPLETED)
    after = backup.read_bytes()
    await store.remove("local", INTERRUPTED)
    await store.aclose()

    assert COMPLETED.encode() in before
    assert COMPLETED.encode() not in after
    assert INTERRUPTED.encode() in after
    assert not backup.exists()


async def test_a_store_for_whose_backup_there_is_no_place_stays_as_it_is(file: Path) -> None:
    file.with_name("runs.db.v2.bak.tmp").mkdir()
    store = FallbackStore(file, lambda: SqliteStore(file))
    assert await store.list("local") == []

    assert "in memory only" in "".join(store.warnings())
    with closing(sqlite3.connect(file)) as db:
        assert version_of(db) == 2
    await store.aclose()


async def test_a_server_of_the_older_version_goes_on_with_the_migrated_file(file: Path) -> None:
    store = SqliteStore(file)
    await store.make_latest("local", COMPLETED)
    with closing(sqlite3.connect(file)) as older, older:
        older.execute(
            "INSERT INTO runs SELECT 'new', owner, status, key, created_at, server, replace(body, run_id, 'new')"
            " FROM runs WHERE run_id = ?",
            (COMPLETED,),
        )
    latest = await store.latest("local")
    await store.aclose()

    assert latest is not None
    assert latest.run_id == "new"
