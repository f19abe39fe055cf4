"""The desk: it owns the runs that are going on, so that a run belongs to the server and not to a call.

Who may ask what is decided before (service.py); how calls are made is the runner's.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial

import anyio
from anyio.abc import TaskGroup

from moa_mcp.errors import Busy, MoAError, Reason, UnknownRun, in_plain_words
from moa_mcp.flows.mixture import mixture
from moa_mcp.model import Answer, CallRecord, Failure, Run
from moa_mcp.providers.base import Provider
from moa_mcp.runner import BranchEnded, CallEnded, Event, Listener, Runner, RunPlanned
from moa_mcp.service.memory import Memory
from moa_mcp.store.base import RunStore
from moa_mcp.store.ledger import Hold, Spend

logger = logging.getLogger(__name__)

WAITING_ROOM = 16
"""How many runs may wait for their turn; one more is told that the desk is busy."""

DEADLINE = 300.0
"""Seconds that a run may take where no limit says otherwise."""

HEARTBEAT = 5.0
"""Seconds between two signs of life to the other servers on the same store."""

PRUNE = 3600.0
"""Seconds between two clearances of the store."""


ProviderFor = Callable[[Run], Provider]
"""Makes the provider of a run: its retries and its budget are its own. The run's `calls` were paid for before."""

Watcher = Callable[[Run, CallRecord | None], None]
"""Hears of every run: with the call or branch that has just ended, or None where the run itself began or ended.

Must not block."""


@dataclass(slots=True)
class LiveRun:
    """A run that is going on: its present state, and who listens.

    `journal` holds the calls that a run had finished before it was resumed, `hold` what is set aside for it of its
    owner's day. `kept` is set once the store has it, `handed_back` once a caller was told that it goes on without it.
    """

    run: Run
    journal: Mapping[str, CallRecord] = field(default_factory=dict[str, CallRecord])
    hold: Hold | None = None
    resumed: bool = False
    left_behind: list[CallRecord] = field(default_factory=list[CallRecord])
    kept: anyio.Event = field(default_factory=anyio.Event)
    listeners: list[Listener] = field(default_factory=list[Listener])
    done: anyio.Event = field(default_factory=anyio.Event)
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    attached: int = 0
    handed_back: bool = False
    started: float = field(default_factory=anyio.current_time)

    def now(self) -> Run:
        """The run as it is at this moment, with the seconds it has taken so far."""
        if self.done.is_set():
            return self.run
        return replace(self.run, seconds=anyio.current_time() - self.started)

    def hear(self, event: Event) -> None:
        """Take an event into the run's state and pass it on."""
        if isinstance(event, CallEnded | BranchEnded):
            self.run = self.run.with_record(event.record)
            self._note_if_left_behind(event)
        for listener in tuple(self.listeners):
            listener(event)

    def _note_if_left_behind(self, event: CallEnded | BranchEnded) -> None:
        """Remember a call that its layer went on without: replayed, the layer must go on without it again."""
        if isinstance(event, BranchEnded) or event.replayed:
            return
        match event.record.outcome:
            case Failure(reason=Reason.STRAGGLER | Reason.DEADLINE):
                self.left_behind.append(event.record)
            case _:
                pass

    def spent(self) -> Spend:
        """What its calls came to since it was begun or resumed."""
        return Spend.on(record for record in self.run.calls if record.call.id not in self.journal)

    @contextmanager
    def heard_by(self, listener: Listener | None) -> Generator[None]:
        """Let `listener` hear of the run while the block lasts, of the calls that ended before first."""
        if listener is None:
            yield
            return
        listener(RunPlanned(self.run.planned_calls))
        for record in self.run.calls:
            listener(CallEnded(record, replayed=True))
        self.listeners.append(listener)
        try:
            yield
        finally:
            self.listeners.remove(listener)


class Desk:
    """Starts runs, waits on them, stops them. Use it through `open_desk`.

    `memory` has what completed runs learned for their owners' next ones.
    """

    def __init__(self, tasks: TaskGroup, provider_for: ProviderFor, store: RunStore, max_concurrent_runs: int) -> None:
        self._tasks = tasks
        self._provider_for = provider_for
        self._store = store
        self._turns = anyio.CapacityLimiter(max_concurrent_runs)
        self._live: dict[str, LiveRun] = {}
        self._watchers: list[Watcher] = []
        self.memory = Memory()

    def watch(self, watcher: Watcher) -> None:
        """Let `watcher` hear of every run, whoever asked for it, for as long as the desk is open."""
        self._watchers.append(watcher)

    async def start(self, run: Run, hold: Hold | None = None) -> LiveRun:
        """Begin a run that is the desk's from here on, as is `hold`: it is settled when the run ends.

        Raises:
            Busy: as many runs as may wait for their turn are waiting already.
        """
        self.check_room()
        live = LiveRun(run, hold=hold)
        self._take(live)
        try:
            await live.kept.wait()
        except anyio.get_cancelled_exc_class():
            if not live.attached:
                live.scope.cancel()
            raise
        return live

    async def resume(self, owner: str, run_id: str, hold: Hold | None = None) -> LiveRun | None:
        """Go on with an interrupted run where it stopped: what it had paid for is replayed, the rest is called.

        None if there is no such run, or somebody else has taken it over. Raises Busy as `start` does.
        """
        self.check_room()
        run: Run | None = None
        with anyio.CancelScope(shield=True):  # a run that is claimed must not be left lying
            run = await self._store.claim(owner, run_id)
        if run is None:
            return None
        journal = {record.call.id: record for record in run.calls}
        live = LiveRun(replace(run, calls=(), panels=()), journal, hold, resumed=True)
        self._take(live)
        return live

    def _take(self, live: LiveRun) -> None:
        self._live[live.run.run_id] = live
        self._tasks.start_soon(self._play, live, name=f"run {live.run.run_id}")
        self._tell(live.run)

    def same(self, owner: str, key: str) -> LiveRun | None:
        """The owner's run of that key, if one is going on."""
        return next((live for live in self._live.values() if (live.run.owner, live.run.key) == (owner, key)), None)

    def find(self, owner: str, run_id: str) -> LiveRun | None:
        """The owner's run of that id, if it is going on."""
        live = self._live.get(run_id)
        return live if live and live.run.owner == owner else None

    async def wait(self, live: LiveRun, seconds: float | None, listener: Listener | None = None) -> Run:
        """Wait for a run's end, at most `seconds` (None: as long as it takes), and return its state then.

        A run whose only waiting call is cancelled is stopped, unless it was handed back before.
        """
        live.attached += 1
        try:
            with live.heard_by(listener), anyio.move_on_after(seconds):
                await live.done.wait()
        except anyio.get_cancelled_exc_class():
            if live.attached == 1 and not live.handed_back:
                live.scope.cancel()
            raise
        finally:
            live.attached -= 1
        live.handed_back = live.handed_back or not live.done.is_set()
        return live.now()

    async def stop(self, live: LiveRun) -> Run:
        """Cancel a run, with its calls, and return what it came to."""
        live.scope.cancel()
        await live.done.wait()
        return live.run

    async def collect(self, owner: str, run_id: str) -> Run:
        """The present state of a run, going on or ended.

        Raises:
            UnknownRun: the owner has no run of that id.
        """
        if live := self.find(owner, run_id):
            return live.now()
        if run := await self._store.get(owner, run_id):
            return run
        raise UnknownRun(run_id)

    async def keep_house(self) -> None:
        """Tell the other servers, as long as runs go on, that theirs they are not; and clear the store."""
        clear_at = anyio.current_time()
        while True:
            await anyio.sleep(HEARTBEAT)
            if not self._live:
                continue
            await self._store.beat()
            if anyio.current_time() >= clear_at:
                clear_at = anyio.current_time() + PRUNE
                await self._store.prune()

    def check_room(self) -> None:
        """Raise Busy if as many runs as may wait for their turn are waiting already."""
        if len(self._live) >= self._turns.total_tokens + WAITING_ROOM:
            raise Busy(f"{WAITING_ROOM} runs are waiting already. Ask again when one of them is done.")

    def _tell(self, run: Run, record: CallRecord | None = None) -> None:
        for watcher in self._watchers:
            watcher(run, record)

    def _hear(self, live: LiveRun, event: Event) -> None:
        live.hear(event)
        if isinstance(event, CallEnded | BranchEnded):
            self._tell(live.run, event.record)

    async def _play(self, live: LiveRun) -> None:
        ended = live.run
        try:
            ended = await self._outcome(live)
        except anyio.get_cancelled_exc_class():
            ended = replace(live.run, status="interrupted", error="The server stopped before the run was done.")
            raise
        finally:
            live.run = replace(ended, seconds=anyio.current_time() - live.started)
            with anyio.move_on_after(2, shield=True):
                await self._close(live)
            if trouble := self._store.trouble():
                live.run = replace(live.run, notes=(*live.run.notes, trouble))
            del self._live[live.run.run_id]
            live.kept.set()
            live.done.set()
            self._tell(live.run)

    async def _begin(self, live: LiveRun) -> None:
        if not live.resumed:
            await self._store.begin(live.run)
        live.kept.set()

    async def _close(self, live: LiveRun) -> None:
        async with anyio.create_task_group() as writes:  # side by side, for one wait on the disk
            writes.start_soon(self._store.finish, live.run)
            if live.hold is not None:
                writes.start_soon(self._store.settle, live.hold, live.spent())

    async def _outcome(self, live: LiveRun) -> Run:
        try:
            await self._begin(live)
            with live.scope:
                async with self._turns:
                    return _completed(live, await self._answer(live))
        except MoAError as error:
            return replace(live.run, status="failed", error=str(error))
        except Exception:
            # One run's bug must not end the others; the log has the traceback, the caller the plain fact.
            logger.exception("Run %s broke", live.run.run_id)
            return replace(live.run, status="failed", error=in_plain_words(Reason.INTERNAL))
        return replace(live.run, status="cancelled", error="The run was cancelled.")

    async def _answer(self, live: LiveRun) -> Answer:
        async def keep(record: CallRecord) -> None:
            while live.left_behind:
                await self._store.add_record(live.run.run_id, live.left_behind[0])
                live.left_behind.pop(0)
            await self._store.add_record(live.run.run_id, record)

        deadline = live.run.limits.deadline_seconds or DEADLINE
        provider = self._provider_for(replace(live.run, calls=tuple(live.journal.values())))
        runner = Runner(provider, partial(self._hear, live), keep, deadline, live.journal)
        answer = await runner.drive(mixture(live.run.task, live.run.plan))
        self.memory.learn(live.run.owner, answer.learned)
        return answer


def _completed(live: LiveRun, answer: Answer) -> Run:
    return replace(
        live.run,
        status="completed",
        answer=answer.text,
        degraded=answer.degraded,
        notes=(*live.run.notes, *answer.notes),
        method=answer.method,
    )


@asynccontextmanager
async def open_desk(provider_for: ProviderFor, store: RunStore, max_concurrent_runs: int = 4) -> AsyncGenerator[Desk]:
    """A desk for as long as the block lasts; leaving it stops the runs that are going on."""
    error: Exception | None = None
    async with anyio.create_task_group() as housekeeping:
        async with anyio.create_task_group() as tasks:
            desk = Desk(tasks, provider_for, store, max_concurrent_runs)
            housekeeping.start_soon(desk.keep_house)
            try:
                yield desk
            except Exception as raised:  # raised again below: leaving the groups, it would come out wrapped
                error = raised
            tasks.cancel_scope.cancel()
        housekeeping.cancel_scope.cancel()
    if error is not None:
        raise error
