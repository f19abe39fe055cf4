"""Three owners on one store: each of them sees only their own runs, on all servers."""

from dataclasses import replace
from functools import partial
from itertools import count, product

import anyio
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule, run_state_machine_as_test

from moa_mcp.domain.model import CallRecord, ChatCall, Draft, PanelCall, Run, RunStatus, Task, Usage
from moa_mcp.domain.preset import Preset
from moa_mcp.store.base import AdmittedRun, RunStore
from moa_mcp.store.memory import MemoryStore
from moa_mcp.store.sqlite.liveness import ALIVE_SECONDS
from moa_mcp.store.sqlite.store import SqliteStore
from tests.admission import claim, whatever
from tests.state_machine import Machine, some

PLAN = Preset.model_validate({"layers": 1, "aggregator": "lab/agg"})

OWNERS = ("ann", "Ann", "an_")
"""Three names that are equal if compared without case or as patterns."""

KEYS = ("k", "K")
UNKNOWN = "r0"
KEPT_SECONDS = 3600.0

ENDS: tuple[RunStatus, ...] = ("completed", "failed", "cancelled", "interrupted")
SAID = "what went wrong"
TEXTS = ("a draft", "", "half a 😀: \ud83d", "a zero\x00inside")

sides = st.integers(0, 1)
ages = st.sampled_from((None, 0.0, 20.0, 100.0))


def a_run(run_id: str, owner: str = OWNERS[0], key: str = KEYS[0], created_at: float = 1.0) -> Run:
    task = Task("Q 😀?", seed=2**63 + 1)
    return Run(run_id, "p", PLAN, task, owner=owner, key=key, created_at=created_at)


def a_record(number: int, text: str) -> CallRecord:
    of = PanelCall if number % 5 == 0 else ChatCall
    call = of(f"1.{number}", "proposer", 1, number, "lab/a", ())
    return CallRecord(call, Draft(text, "served", "stop", Usage(1, 2, 0.5)), number / 8)


async def admit(server: RunStore, run: Run, since: float | None) -> Run:
    """The run that is returned for it: itself, started now, or an earlier one."""
    found = await server.admit(run, whatever(run.owner, run.run_id), since)
    return found.run if isinstance(found, AdmittedRun) else found


def plain(run: Run | None) -> Run | None:
    """The run without the words of its error, which for an interrupted one may be the store's own."""
    return run and replace(run, error=run.error and SAID)


class OwnersOnDisk(Machine):
    """Three owners ask two servers that share a file; a server may die, and another take its place.

    `runs` is what is to be found there, oldest first, and `at` the server that each of them is played by. `given` is
    the run that each owner was given, or went on with, if they have begun none since.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = 1_000_000.0
        self.numbers = count(1)
        self.runs: dict[str, Run] = {}
        self.gone: set[str] = set()
        self.given: dict[str, str] = {}
        self.at: dict[str, RunStore] = {}
        self.heard: dict[RunStore, float] = {}
        self.servers = [self.opened(), self.opened()]

    def opened(self) -> RunStore:
        """One more server's store."""
        days = KEPT_SECONDS / 86_400
        return SqliteStore(self.folder / "runs.db", keep_days=days, clock=lambda: self.now)

    def ids(self) -> set[str]:
        """Of runs that are there, were there, or never were."""
        return {UNKNOWN, *self.runs, *self.gone}

    def going(self) -> set[str]:
        """Runs that a server is playing."""
        return {run_id for run_id in self.runs if self.is_(run_id, "running") and self.at[run_id] in self.servers}

    def claimable(self) -> set[str]:
        """Interrupted runs; all ids where there is none."""
        return {run_id for run_id in self.runs if self.is_(run_id, "interrupted")} or self.ids()

    def removed(self) -> set[str]:
        """Runs that were there once."""
        return self.gone

    def is_(self, run_id: str, status: RunStatus) -> bool:
        run = self.seen(run_id)
        return run is not None and run.status == status

    def seen(self, run_id: str) -> Run | None:
        """The run as its owner is to find it: one whose server has been silent for long is interrupted."""
        run = self.runs.get(run_id)
        if run is None or run.status != "running" or self.lives(self.at[run_id]):
            return run
        return replace(run, status="interrupted", error=SAID)

    def lives(self, server: RunStore) -> bool:
        return server in self.servers or self.now - self.heard[server] < ALIVE_SECONDS

    def own(self, owner: str) -> list[Run]:
        """What that owner is to find, newest first."""
        runs = [run for run_id in self.runs if (run := self.seen(run_id)) and run.owner == owner]
        return runs[::-1]

    @initialize()
    def everyone_asks(self) -> None:
        for number, owner in enumerate(OWNERS):
            self.ask(owner, KEYS[0], None, number % 2)

    @rule(owner=st.sampled_from(OWNERS), key=st.sampled_from(KEYS), age=ages, side=sides)
    def ask(self, owner: str, key: str, age: float | None, side: int) -> None:
        """The earlier run that is reused for a repeated question; None if it failed or is too old."""
        server, run_id = self.servers[side], f"r{next(self.numbers)}"
        run = a_run(run_id, owner, key, self.now)
        before = None if age is None else self.standing(owner, key, age)
        found = self.do(lambda: admit(server, run, None if age is None else self.now - age))
        assert plain(found) == (before or run)
        if before is None:
            self.runs[run_id], self.at[run_id], self.heard[server] = run, server, self.now
            self.given.pop(owner, None)

    def standing(self, owner: str, key: str, age: float) -> Run | None:
        """The newest run of the key, if it is so young and came or may still come to something."""
        young = (run for run in self.own(owner) if run.key == key and abs(run.created_at - self.now) <= age)
        newest = next(young, None)
        return newest if newest and newest.status in {"completed", "running", "interrupted"} else None

    @precondition(lambda self: self.going())
    @rule(run_id=some("going"), texts=st.lists(st.sampled_from(TEXTS), min_size=1, max_size=3))
    def add_records(self, run_id: str, texts: list[str]) -> None:
        records = [a_record(next(self.numbers), text) for text in texts]
        assert self.do(lambda: self.at[run_id].add_records(run_id, records))
        self.added(run_id, records)

    def added(self, run_id: str, records: list[CallRecord]) -> None:
        for record in records:
            self.runs[run_id] = self.runs[run_id].with_records([record])

    @precondition(lambda self: self.going())
    @rule(text=st.sampled_from(TEXTS))
    def a_draft_ends_in_every_run_at_once(self, text: str) -> None:
        records = {run_id: [a_record(next(self.numbers), text)] for run_id in sorted(self.going())}

        async def add() -> None:
            async with anyio.create_task_group() as group:
                for run_id, ended in records.items():
                    group.start_soon(self.at[run_id].add_records, run_id, ended)

        self.do(add)
        for run_id, ended in records.items():
            self.added(run_id, ended)

    @precondition(lambda self: self.going())
    @rule(run_id=some("going"), status=st.sampled_from(ENDS))
    def finish(self, run_id: str, status: RunStatus) -> None:
        run = replace(self.runs[run_id], status=status, error=SAID, notes=("a note",), method={"kept": [1, 2]})
        self.do(lambda: self.at[run_id].finish(run))
        self.runs[run_id] = run

    @precondition(lambda self: self.going())
    @rule(run_id=some("going"))
    def what_another_server_writes_of_a_run_is_not_taken(self, run_id: str) -> None:
        """It may have been silent for too long, so that this run is no more its own."""
        for other in (server for server in self.servers if server is not self.at[run_id]):
            assert not self.do(partial(other.add_records, run_id, [a_record(1, TEXTS[0])]))
            self.do(partial(other.finish, replace(self.runs[run_id], status="completed")))

    @precondition(lambda self: self.gone)
    @rule(run_id=some("removed"), side=sides)
    def what_comes_late_does_not_bring_a_removed_run_back(self, run_id: str, side: int) -> None:
        self.do(lambda: self.servers[side].add_records(run_id, [a_record(1, TEXTS[0])]))
        self.do(lambda: self.finish_late(self.servers[side], run_id))

    async def finish_late(self, server: RunStore, run_id: str) -> None:
        await server.finish(replace(a_run(run_id), status="completed"))

    @rule(run_id=some("claimable"), side=sides)
    def both_servers_claim_it_for_everyone(self, run_id: str, side: int) -> None:
        """The first gets it, for its owner alone, if it is interrupted."""
        for owner, each in product(self.strangers_first(run_id), (side, 1 - side)):
            run = self.seen(run_id)
            taken = self.do(partial(claim, self.servers[each], owner, run_id))
            if run and (run.owner, run.status) == (owner, "interrupted"):
                self.runs[run_id], self.at[run_id] = replace(run, status="running", error=None), self.servers[each]
                assert taken == self.runs[run_id]
                self.given[owner] = run_id
            else:
                assert taken is None

    @rule(run_id=some("claimable"), side=sides)
    def everyone_cancels_it(self, run_id: str, side: int) -> None:
        """An interrupted run is cancelled once its owner does; any other goes on or has ended."""
        for owner in self.strangers_first(run_id):
            self.do(partial(self.servers[side].cancel, owner, run_id))
            if (run := self.seen(run_id)) is None:
                continue
            if (run.owner, run.status) == (owner, "interrupted"):
                self.runs[run_id] = replace(run, status="cancelled", error=SAID)
            assert plain(self.do(partial(self.servers[side].get, run.owner, run_id))) == self.seen(run_id)

    @rule(run_id=some("ids"), key=st.sampled_from(KEYS), age=st.sampled_from((0.0, 20.0, 100.0)), side=sides)
    def everyone_looks(self, run_id: str, key: str, age: float, side: int) -> None:
        server, run = self.servers[side], self.seen(run_id)
        for owner in OWNERS:
            own = self.own(owner)
            assert plain(self.do(partial(server.get, owner, run_id))) == (run if run in own else None)
            assert plain(self.do(partial(server.find, owner, key, self.now - age))) == self.standing(owner, key, age)
            given = next((run for run in own if run.run_id == self.given.get(owner)), None)
            assert plain(self.do(partial(server.latest, owner))) == (given or next(iter(own), None))
            assert [plain(run) for run in self.do(partial(server.list, owner, 2))] == own[:2]

    @rule(run_id=some("ids"), side=sides)
    def everyone_is_given_it(self, run_id: str, side: int) -> None:
        """It becomes the latest run of its owner, and of no other."""
        for owner in self.strangers_first(run_id):
            self.do(partial(self.servers[side].make_latest, owner, run_id))
            if run_id in self.runs and self.runs[run_id].owner == owner:
                self.given[owner] = run_id

    @rule(run_id=some("ids"), side=sides)
    def everyone_removes_it(self, run_id: str, side: int) -> None:
        """It is there until its owner does."""
        for owner in self.strangers_first(run_id):
            run = self.runs.get(run_id)
            mine = run is not None and run.owner == owner
            assert self.do(partial(self.servers[side].remove, owner, run_id)) == mine
            self.forget({run_id} if mine else set())

    def strangers_first(self, run_id: str) -> list[str]:
        run = self.runs.get(run_id)
        return sorted(OWNERS, key=lambda owner: run is not None and run.owner == owner)

    @rule(seconds=st.sampled_from((0.0, 1800.0, KEPT_SECONDS + 1)), side=sides)
    def prune(self, seconds: float, side: int) -> None:
        """Old runs that have ended are deleted for all owners; running ones are not.

        What is dated ahead of the clock is old if it was begun before something that is.
        """
        self.time_passes(seconds)
        # What is found interrupted stays so, also when the clock is set back to when its server was there.
        self.runs = {run_id: self.seen(run_id) or run for run_id, run in self.runs.items()}
        ended = [run for run_id, run in self.runs.items() if not self.is_(run_id, "running")]
        old = [run.created_at < self.now - self.kept_seconds() for run in ended]
        ahead = [run.created_at > self.now and any(old[place:]) for place, run in enumerate(ended)]
        forgotten = {run.run_id for place, run in enumerate(ended) if old[place] or ahead[place]}
        assert self.do(self.servers[side].prune) == len(forgotten)
        self.forget(forgotten)

    def kept_seconds(self) -> float:
        return KEPT_SECONDS

    def forget(self, ids: set[str]) -> None:
        self.gone |= ids
        for run_id in ids:
            del self.runs[run_id]

    @rule(seconds=st.sampled_from((1.0, 20.0, ALIVE_SECONDS, 100_000.0, -20.0, -100_000.0)))
    def time_passes(self, seconds: float) -> None:
        """Or the clock is set back. And the servers that are there give their signs of life."""
        self.now += seconds
        for server in self.servers:
            self.do(server.heartbeat)
            self.heard[server] = self.now

    @rule(side=sides, in_order=st.booleans(), seconds=st.sampled_from((0.0, ALIVE_SECONDS)))
    def another_server_takes_the_place(self, side: int, seconds: float, *, in_order: bool) -> None:
        """One that ends in order writes its runs down as interrupted; one that dies does not come to that."""
        server = self.servers[side]
        for run_id in self.going() if in_order else ():
            if self.at[run_id] is server:
                self.finish(run_id, "interrupted")
        self.heard.setdefault(server, self.now)
        self.do(server.aclose)
        self.servers[side] = self.opened()
        self.time_passes(seconds)

    @invariant()
    def everyone_finds_all_of_their_runs_and_nobody_elses(self) -> None:
        for number, owner in enumerate(OWNERS):
            found = self.do(partial(self.servers[number % 2].list, owner))
            assert [plain(run) for run in found] == self.own(owner)

    def teardown(self) -> None:
        for server in self.servers:
            self.do(server.aclose)
        super().teardown()


class OwnersInMemory(OwnersOnDisk):
    """The same in the memory of one process, where there are no others: both servers are the same store."""

    def opened(self) -> RunStore:
        self.memory = getattr(self, "memory", None) or MemoryStore(clock=lambda: self.now)
        return self.memory

    async def finish_late(self, server: RunStore, run_id: str) -> None:
        """Memory does take the end of a run that it has not seen: that of one for which the disk had no room left."""

    def kept_seconds(self) -> float:
        """As long as there are not too many."""
        return float("inf")


CHECKS = settings(stateful_step_count=25)


@pytest.mark.slow
def test_on_disk_each_owner_sees_only_their_own_runs_on_all_servers() -> None:
    run_state_machine_as_test(OwnersOnDisk, settings=CHECKS)


def test_in_memory_each_owner_sees_only_their_own_runs() -> None:
    run_state_machine_as_test(OwnersInMemory, settings=CHECKS)
