"""The states of the scheduler: each run has one end, and every subscriber gets the same one."""

from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import count, product
from typing import TypeVar

import anyio
import anyio.lowlevel
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule, run_state_machine_as_test

from moa_mcp.domain.errors import Busy, ProviderError, Reason, UnknownRun
from moa_mcp.domain.model import Call, Draft, Run, RunStatus, Task
from moa_mcp.domain.preset import Aggregator, Preset, Proposer
from moa_mcp.domain.spend import Spend
from moa_mcp.providers.base import OnText, Provider
from moa_mcp.runs.events import Event, RunEnded, RunStarted
from moa_mcp.runs.live_run import LiveRun
from moa_mcp.runs.scheduler import MAX_QUEUED_RUNS, RunScheduler, open_scheduler
from moa_mcp.store.daily_budget import DayReservation
from moa_mcp.store.memory import MemoryStore
from moa_mcp.testing.scripted import HoldingProvider, ScriptedProvider
from tests.admission import whatever
from tests.results import as_draft
from tests.state_machine import Machine, some

Result = TypeVar("Result")

PRESET = Preset(name="two", proposers=(Proposer(model="lab/p", samples=2),), aggregator=Aggregator(model="lab/agg"))
OWNERS = ("ann", "bob")
KEYS = ("k1", "k2")
CROWD = "k3"
AT_ONCE = 2
ROOM = AT_ONCE + MAX_QUEUED_RUNS

TURNS = 20
"""So often every task may go on before it is looked whether all of them wait."""


class Play:
    """The models of one run: drafts wait at one gate, the answer at another."""

    def __init__(self) -> None:
        self.breaks = False
        self.drafts, self.answer = (HoldingProvider(ScriptedProvider(self._say), lambda call: True) for _ in range(2))
        self.asked: list[str] = []
        self.answered: set[str] = set()
        self.in_flight = 0

    async def complete(self, call: Call, on_text: OnText) -> Draft:
        self.asked.append(call.id)
        self.in_flight += 1
        try:
            gate = self.drafts if call.role == "proposer" else self.answer
            draft = as_draft(await gate.complete(call, on_text))
        finally:
            self.in_flight -= 1
        self.answered.add(call.id)
        return draft

    def _say(self, call: Call) -> str | Exception:
        return ProviderError(Reason.AUTH) if self.breaks else f"<{call.id}>"


class Books(MemoryStore):
    """A store that writes down all that each hold was settled with."""

    def __init__(self) -> None:
        super().__init__(max_runs=10_000, clock=lambda: 0.0)
        self.settled: dict[str, list[Spend]] = {}

    async def settle(self, reservation: DayReservation, actual: Spend) -> None:
        self.settled.setdefault(reservation.id, []).append(actual)
        await super().settle(reservation, actual)


@dataclass(slots=True)
class Known:
    """The expected state of a run: its owner, its status, its number of drafts, and its waiters.

    `live` is the run as it is played, or was at last. `paid` are the calls that it has answers to, `asked` is how many
    were sent. `told` are the states in which its watchers are to have heard of it.
    """

    owner: str
    key: str
    live: LiveRun
    status: RunStatus = "running"
    drafts: int = 0
    handed_back: bool = False
    waiting: list[Future[Run]] = field(default_factory=list[Future[Run]])
    paid: set[str] = field(default_factory=set[str])
    asked: int = 0
    told: list[RunStatus] = field(default_factory=lambda: list[RunStatus](["running"]))


def good(run: Run) -> int:
    """How many drafts of its proposers a run has."""
    return sum(record.status == "ok" for record in run.drafts)


class AtTheDesk(Machine):
    """A scheduler that executes two runs at once. `line` are the running ones, the oldest first."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers = count(1)
        self.store = Books()
        self.runs: dict[str, Known] = {}
        self.line: list[str] = []
        self.plays: dict[str, Play] = {}
        self.heard: dict[str, list[RunStatus]] = {}
        self.at_the_desk = ExitStack()
        self.desk = self.opened()

    def opened(self) -> RunScheduler:
        scheduler = self.at_the_desk.enter_context(
            self.portal.wrap_async_context_manager(open_scheduler(self.provider_for, self.store, AT_ONCE))
        )
        scheduler.subscribe(self.hear)
        return scheduler

    def provider_for(self, run: Run) -> Provider:
        play = self.plays[run.run_id] = Play()
        return play

    def hear(self, event: Event) -> None:
        if isinstance(event, RunStarted | RunEnded):
            self.heard.setdefault(event.run_id, []).append(event.run.status)

    def act(self, work: Callable[[], Awaitable[Result]]) -> Result:
        """Do `work`, and let all tasks run until all of them wait."""

        async def acted() -> Result:
            result = await work()
            for _ in range(TURNS):
                await anyio.lowlevel.checkpoint()
            await anyio.wait_all_tasks_blocked()
            return result

        return self.do(acted)

    def begun(self) -> list[str]:
        return list(self.runs)

    def going(self) -> list[str]:
        """The first runs of the queue; later ones behave like the third."""
        return self.line[: AT_ONCE + 1]

    def playing(self) -> list[str]:
        return self.line[:AT_ONCE]

    def drafting(self) -> list[str]:
        return [run_id for run_id in self.playing() if not self.runs[run_id].drafts]

    def answering(self) -> list[str]:
        return [run_id for run_id in self.playing() if self.runs[run_id].drafts]

    def waited_for(self) -> list[str]:
        return [run_id for run_id in self.going() if self.runs[run_id].waiting]

    def resumable(self) -> list[str]:
        """Interrupted runs; all runs where there is none."""
        return [run_id for run_id, known in self.runs.items() if known.status == "interrupted"] or self.begun()

    def full(self) -> bool:
        return len(self.line) == ROOM

    @rule(owner=st.sampled_from(OWNERS), key=st.sampled_from(KEYS), fresh=st.booleans(), stays=st.booleans())
    def ask(self, owner: str, key: str, *, fresh: bool, stays: bool) -> None:
        """An earlier run of the same question is reused, unless it failed; else the queue must have room."""
        run = Run(f"r{next(self.numbers)}", "two", PRESET, Task("Q?"), owner=owner, key=key)
        before = None if fresh else self.standing(owner, key)
        if before is None and self.full():
            with pytest.raises(Busy):
                self.act(lambda: self.started(run, fresh=fresh))
            return
        found = self.act(lambda: self.started(run, fresh=fresh))
        if before is not None:
            assert isinstance(found, Run)
            assert (found.run_id, found.status) == (before, self.runs[before].status)
            return
        assert isinstance(found, LiveRun)
        self.runs[run.run_id] = Known(owner, key, found)
        self.comes(run.run_id, stays=stays)

    async def started(self, run: Run, *, fresh: bool) -> LiveRun | Run:
        return await self.desk.start(run, whatever(run.owner, run.run_id), None if fresh else 0.0)

    def standing(self, owner: str, key: str) -> str | None:
        """The newest run of that owner and key, if it came or may still come to something."""
        same = [run_id for run_id, known in self.runs.items() if (known.owner, known.key) == (owner, key)]
        return same[-1] if same and self.runs[same[-1]].status not in {"failed", "cancelled"} else None

    def comes(self, run_id: str, *, stays: bool) -> None:
        self.line.append(run_id)
        if stays:
            self.attach(run_id)
        else:
            self.look(run_id)

    @precondition(lambda self: AT_ONCE < len(self.line) < ROOM)
    @rule()
    def a_crowd_comes(self) -> None:
        """As many as there is room for, and one more; who asks the same as one of them needs no room."""
        while not self.full():
            self.ask(OWNERS[0], CROWD, fresh=True, stays=False)
        for fresh in (True, False):
            self.ask(OWNERS[0], CROWD, fresh=fresh, stays=False)

    @precondition(lambda self: self.line)
    @rule(run_id=some("going"))
    def look(self, run_id: str) -> None:
        """Wait with a limit of 0: the run is returned as running, and no longer stops when its callers leave."""
        run = self.act(lambda: self.desk.wait(self.runs[run_id].live, 0))
        self.runs[run_id].handed_back = True
        assert (run.status, good(run)) == ("running", self.runs[run_id].drafts)

    @precondition(lambda self: self.line)
    @rule(run_id=some("going"), number=st.integers(1, 2))
    def attach(self, run_id: str, number: int = 1) -> None:
        known = self.runs[run_id]
        for _ in range(number):
            known.waiting.append(self.portal.start_task_soon(self.desk.wait, known.live, None))
        self.act(anyio.lowlevel.checkpoint)

    @precondition(lambda self: self.waited_for())
    @rule(run_id=some("waited_for"), most=st.integers(1, 3))
    def who_waits_leaves(self, run_id: str, most: int) -> None:
        """Cancel the waiters one by one; with the last one, a run that is not detached is interrupted."""
        known = self.runs[run_id]
        for waiting in known.waiting[:most]:
            known.waiting.remove(waiting)
            waiting.cancel()
            self.act(anyio.lowlevel.checkpoint)
        if not known.waiting and not known.handed_back:
            self.ends(run_id, "interrupted")

    @precondition(lambda self: self.drafting())
    @rule(run_id=some("drafting"))
    def drafts_come(self, run_id: str) -> None:
        self.act(self.opener(self.plays[run_id].drafts))
        self.runs[run_id].drafts = 2

    @precondition(lambda self: self.drafting())
    @rule(run_id=some("drafting"))
    def no_drafts_come(self, run_id: str) -> None:
        self.plays[run_id].breaks = True
        self.act(self.opener(self.plays[run_id].drafts))
        self.ends(run_id, "failed")

    @precondition(lambda self: self.answering())
    @rule(run_id=some("answering"))
    def the_answer_comes(self, run_id: str) -> None:
        self.act(self.opener(self.plays[run_id].answer))
        self.ends(run_id, "completed")

    @staticmethod
    def opener(gate: HoldingProvider) -> Callable[[], Awaitable[None]]:
        async def opened() -> None:
            gate.opened.set()

        return opened

    @precondition(lambda self: self.line)
    @rule(run_id=some("going"))
    def stop(self, run_id: str) -> None:
        run = self.act(lambda: self.desk.stop(self.runs[run_id].live))
        assert run.status == "cancelled"
        self.ends(run_id, "cancelled")

    @precondition(lambda self: self.runs)
    @rule(run_id=some("resumable"), owner=st.sampled_from(OWNERS))
    def resume(self, run_id: str, owner: str) -> None:
        """An interrupted run goes on, for its owner alone; no other run begins again."""
        known = self.runs[run_id]
        if self.full():
            with pytest.raises(Busy):
                self.act(lambda: self.desk.resume(owner, run_id, whatever(owner, run_id)))
            return
        live = self.act(lambda: self.desk.resume(owner, run_id, whatever(owner, run_id)))
        if (known.owner, known.status) != (owner, "interrupted"):
            assert live is None
            return
        assert live is not None
        known.live, known.status, known.handed_back = live, "running", False
        known.told.append("running")
        self.comes(run_id, stays=True)

    @precondition(lambda self: self.line)
    @rule()
    def the_desk_is_closed_and_another_opened(self) -> None:
        self.at_the_desk.close()
        self.act(anyio.lowlevel.checkpoint)
        for run_id in tuple(self.line):
            self.ends(run_id, "interrupted")
        self.desk = self.opened()

    def ends(self, run_id: str, status: RunStatus) -> None:
        """The run has ended like this, and every waiter got that state."""
        known = self.runs[run_id]
        known.status = status
        known.told.append(status)
        self.line.remove(run_id)
        assert known.live.run.status == status
        assert all(one.result(0) == known.live.run for one in known.waiting)
        known.waiting.clear()
        asked = self.agreed(run_id, known) if run_id in self.plays else []
        assert self.store.settled.pop(known.live.journal.hold.id) == [Spend(calls=len(asked))]

    def agreed(self, run_id: str, known: Known) -> list[str]:
        """The calls of a run that had its turn: none was paid for before, and the store has the same."""
        play = self.plays.pop(run_id)
        assert known.live.run == self.do(lambda: self.store.get(known.owner, run_id))
        assert not known.paid.intersection(play.asked)
        known.paid |= play.answered
        known.asked += len(play.asked)
        assert known.live.run.calls_made == known.asked
        return play.asked

    @invariant()
    def no_more_runs_are_played_at_once_than_may_be_and_no_turn_is_left_unused(self) -> None:
        in_flight = {run_id: play.in_flight for run_id, play in self.plays.items() if play.in_flight}
        assert in_flight == {run_id: 1 if self.runs[run_id].drafts else 2 for run_id in self.playing()}

    @invariant()
    def everybody_hears_the_same_of_a_run(self) -> None:
        for runs in (self.do(self.as_told), self.do(self.as_stored)):
            assert {run_id: run.status for run_id, run in runs.items()} == {
                run_id: known.status for run_id, known in self.runs.items()
            }
        assert self.heard == {run_id: known.told for run_id, known in self.runs.items()}

    @invariant()
    def no_draft_is_lost(self) -> None:
        message, stored = self.do(self.as_told), self.do(self.as_stored)
        for run_id, known in self.runs.items():
            assert (good(message[run_id]), good(stored[run_id])) == (known.drafts, known.drafts)

    async def as_told(self) -> dict[str, Run]:
        return {run_id: await self.desk.get_run(known.owner, run_id) for run_id, known in self.runs.items()}

    async def as_stored(self) -> dict[str, Run]:
        stored = {run_id: await self.store.get(known.owner, run_id) for run_id, known in self.runs.items()}
        return {run_id: run for run_id, run in stored.items() if run is not None}

    @invariant()
    def a_stranger_hears_as_of_a_run_that_never_was(self) -> None:
        self.do(self.strangers_ask)

    async def strangers_ask(self) -> None:
        for owner, run_id in product(OWNERS, [*self.runs, "never"]):
            if run_id not in self.runs or self.runs[run_id].owner != owner:
                assert self.desk.find(owner, run_id) is None
                with pytest.raises(UnknownRun) as raised:
                    await self.desk.get_run(owner, run_id)
                assert str(raised.value) == str(UnknownRun(run_id))

    @invariant()
    def no_hold_is_settled_before_its_run_ends_or_once_more_later(self) -> None:
        assert self.store.settled == {}

    def teardown(self) -> None:
        self.at_the_desk.close()
        super().teardown()


def test_each_run_has_one_end_and_every_subscriber_gets_the_same_one() -> None:
    run_state_machine_as_test(AtTheDesk, settings=settings(stateful_step_count=25))
