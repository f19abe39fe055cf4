"""Eight servers on one home that ask, configure and clear up at once: no lock shows, no change and no call is lost."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

import anyio
import pytest

from moa_mcp.api import open_service
from moa_mcp.config.settings import Paths, load_settings
from moa_mcp.domain.errors import NotAllowed
from moa_mcp.domain.model import Run, Task
from moa_mcp.presets.library import PresetLibrary
from moa_mcp.service.configure.editor import ChangeRequest, ConfigEditor
from moa_mcp.service.configure.log import ChangeLogFile
from moa_mcp.service.service import AskRequest
from moa_mcp.store.sqlite.store import SqliteStore
from tests.admission import begin
from tests.processes import together
from tests.service.fixtures import PRESET, write_panel
from tests.upstream import upstream_thread

SERVERS = 8
QUESTIONS = 3
VERSIONS = 3
OLD_RUNS = 40
BY_HAND = "store: {keep_days: 7}   # for now\n"


@dataclass(frozen=True, slots=True)
class Made:
    """A change that was acknowledged: what was asked for, and the revision that it made."""

    request: ChangeRequest
    revision: int


@dataclass(slots=True)
class Done:
    """What one server did: the runs that it answered with, and the changes that it acknowledged."""

    runs: list[Run] = field(default_factory=list[Run])
    made: list[Made] = field(default_factory=list[Made])


async def do_everything(number: int, ready: Callable[[], None], home: Path) -> Done:
    done = Done()
    async with open_service({"MOA_MCP_HOME": str(home)}) as service:

        async def ask(question: str) -> None:
            done.runs.append(await service.ask(AskRequest(question, preset="panel")))

        async def configure() -> None:
            for request in changes_of(number):
                done.made.append(insisted(service.editor, request))
                await anyio.lowlevel.checkpoint()
            if undone := tried(service.editor, ChangeRequest(undo=True, revision=done.made[-1].revision)):
                done.made.append(undone)

        async def clear_up() -> None:
            for _ in range(QUESTIONS):
                await service.store.prune()

        ready()
        async with anyio.create_task_group() as group:
            for question in range(QUESTIONS):
                group.start_soon(ask, f"What is {number} by {question}?")
            group.start_soon(configure)
            group.start_soon(clear_up)
    return done


def changes_of(number: int) -> Iterable[ChangeRequest]:
    """Save one version after another of an own preset, and make it the default of all servers."""
    own = f"own{number}"
    for version in range(VERSIONS):
        yield ChangeRequest(save_preset=own, base="panel", fields={"title": f"Version {version}"})
    yield ChangeRequest(default_preset=own)


def insisted(changes: ConfigEditor, request: ChangeRequest) -> Made:
    """Ask for a change until it is made, each time at the revision that holds then, as a client does."""
    while True:
        if made := tried(changes, replace(request, revision=changes.current()["revision"])):
            return made


def tried(changes: ConfigEditor, request: ChangeRequest) -> Made | None:
    """The change, or None if somebody else was quicker. Any other refusal is raised."""
    try:
        return Made(request, changes.apply(changes.propose(request))["revision"])
    except NotAllowed as refusal:
        if "something changed since" in str(refusal):
            return None
        raise


async def fill(file: Path) -> None:
    """A store of runs that are long over."""
    store = SqliteStore(file)
    for number in range(OLD_RUNS):
        old = Run(f"old{number}", "three", PRESET, Task("Q?"), owner="ann", created_at=1.0)
        await begin(store, old)
        await store.finish(replace(old, status="completed", answer="yes"))
    await store.aclose()


async def kept(file: Path, owner: str) -> dict[str, str | None]:
    """The answers that a store holds, by run id."""
    store = SqliteStore(file)
    runs = await store.list(owner, 1000)
    await store.aclose()
    return {run.run_id: run.answer for run in runs}


Crowd = tuple[Paths, list[Done], list[str]]


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Crowd:
    """The home after eight servers have done everything in it, what they did, and all that they warned of."""
    home = Paths.in_folder(tmp_path_factory.mktemp("crowd"))
    with upstream_thread() as upstream:
        write_panel(home.data_folder, upstream.base_url, BY_HAND)
        anyio.run(fill, home.data_folder / "runs.db")
        outcomes = together(do_everything, SERVERS, home.data_folder)
    return home, [outcome.result for outcome in outcomes], [line for outcome in outcomes for line in outcome.log]


@pytest.mark.slow
def test_no_server_meets_a_lock_or_warns_of_anything(crowd: Crowd) -> None:
    home, servers, log = crowd
    runs = [run for server in servers for run in server.runs]

    assert log == []
    assert {(run.status, run.degraded, run.notes) for run in runs} == {("completed", False, ())}
    assert len({run.run_id for run in runs}) == len(runs) == SERVERS * QUESTIONS
    assert not [path.name for path in home.data_folder.rglob("*") if ".corrupt" in path.name or ".tmp" in path.name]


@pytest.mark.slow
def test_every_answer_is_kept_and_only_what_is_old_is_cleared_up(crowd: Crowd) -> None:
    home, servers, _ = crowd
    answers = {run.run_id: run.answer for server in servers for run in server.runs}

    assert anyio.run(kept, home.data_folder / "runs.db", "local") == answers
    assert anyio.run(kept, home.data_folder / "runs.db", "ann") == {}


@pytest.mark.slow
def test_each_acknowledged_change_is_a_revision_of_its_own(crowd: Crowd) -> None:
    home, servers, _ = crowd
    made = [made for server in servers for made in server.made]
    revisions = sorted(one.revision for one in made)

    assert [one.revision for one in made] == [(one.request.revision or 0) + 1 for one in made]
    assert revisions == list(range(1, len(revisions) + 1))
    assert len(revisions) >= SERVERS * (VERSIONS + 1)
    assert ChangeLogFile(home.data_folder).read().revision == len(revisions)


@pytest.mark.slow
def test_the_files_say_what_the_acknowledged_changes_come_to(crowd: Crowd) -> None:
    home, servers, _ = crowd
    library = PresetLibrary(home.presets_folder)
    defaults = ["panel"]
    for made in sorted((made for server in servers for made in server.made), key=lambda made: made.revision):
        if made.request.undo:
            defaults.pop()
        elif made.request.default_preset:
            defaults.append(made.request.default_preset)

    titles = [library.get(f"own{number}").title for number in range(SERVERS)]
    assert titles == [f"Version {VERSIONS - 1}"] * SERVERS
    assert load_settings(home).default_preset == defaults[-1]
    assert home.config_file.read_text(encoding="utf-8").endswith(BY_HAND)
