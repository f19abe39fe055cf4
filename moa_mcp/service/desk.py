"""The desk: it owns the runs that are going on, so that a run belongs to the server and not to a call.

Who may ask what is decided before (service.py); how calls are made is the runner's.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace

import anyio
from anyio.abc import TaskGroup

from moa_mcp.errors import Busy, MoAError, Reason, UnknownRun, in_plain_words
from moa_mcp.flows.mixture import mixture
from moa_mcp.model import Answer, CallRecord, Run
from moa_mcp.providers.base import Provider
from moa_mcp.runner import BranchEnded, CallEnded, Event, Listener, Runner
from moa_mcp.service.memory import Memory
from moa_mcp.store.base import RunStore

logger = logging.getLogger(__name__)

WAITING_ROOM = 16
"""How many runs may wait for their turn; one more is told that the desk is busy."""

DEADLINE = 300.0
"""Seconds that a run may take where no limit says otherwise."""

HEARTBEAT = 5.0
"""Seconds between two signs of life to the other servers on the same store."""

PRUNE = 3600.0
"""Seconds between two clearances of the store."""


@dataclass(slots=True)
class LiveRun:
    """A run that is going on: its present state, and who listens.

    `journal` holds the calls that a run had finished before it was resumed. `handed_back` is set once a caller was told that the run goes on without it.
    """

    run: Run
    journal: Mapping[str, CallRecord] = field(default_factory=dict[str, CallRecord])
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
        for listener in tuple(self.listeners):
            listener(event)

    @contextmanager
    def heard_by(self, listener: Listener | None) -> Iterator[None]:
        """Let `listener` hear of the run while the block lasts, of the calls that ended before first."""
        if listener is None:
            yield
            return
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

    def __init__(
        self, tasks: TaskGroup, provider: Provider, store: RunStore, max_concurrent_runs: int
    ) -> None:
        self._tasks = tasks
        self._provider = provider
        self._store = store
        self._turns = anyio.CapacityLimiter(max_concurrent_runs)
        self._live: dict[str, LiveRun] = {}
        self.memory = Memory()

    async def start(self, run: Run) -> LiveRun:
        """Begin a run that is the desk's from here on.

        Raises:
            Busy: as many runs as may wait for their turn are waiting already.
        """
        self._check_room()
        live = LiveRun(run)
        self._live[run.run_id] = live
        try:
            await self._store.begin(run)
        except BaseException:
            del self._live[run.run_id]
            raise
        self._tasks.start_soon(self._play, live, name=f"run {run.run_id}")
        return live

    async def resume(self, owner: str, run_id: str) -> LiveRun | None:
        """Go on with an interrupted run where it stopped: what it had paid for is replayed, the rest is called.

        None if there is no such run, or somebody else has taken it over. Raises Busy as `start` does.
        """
        self._check_room()
        run = await self._store.claim(owner, run_id)
        if run is None:
            return None
        live = LiveRun(replace(run, calls=(), panels=()), {record.call.id: record for record in run.calls})
        self._live[run_id] = live
        self._tasks.start_soon(self._play, live, name=f"run {run_id}")
        return live

    def same(self, owner: str, key: str) -> LiveRun | None:
        """The owner's run of that key, if one is going on."""
        return next(
            (live for live in self._live.values() if (live.run.owner, live.run.key) == (owner, key)), None
        )

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

    def _check_room(self) -> None:
        if self._turns.statistics().tasks_waiting >= WAITING_ROOM:
            raise Busy(f"{WAITING_ROOM} runs are waiting already. Ask again when one of them is done.")

    async def _play(self, live: LiveRun) -> None:
        ended = live.run
        try:
            ended = await self._outcome(live)
        except anyio.get_cancelled_exc_class():
            ended = replace(
                live.run, status="interrupted", error="The server stopped before the run was done."
            )
            raise
        finally:
            live.run = replace(ended, seconds=anyio.current_time() - live.started)
            with anyio.move_on_after(2, shield=True):
                await self._store.finish(live.run)
            if trouble := self._store.trouble():
                live.run = replace(live.run, notes=(*live.run.notes, trouble))
            del self._live[live.run.run_id]
            live.done.set()

    async def _outcome(self, live: LiveRun) -> Run:
        try:
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
            await self._store.add_record(live.run.run_id, record)

        deadline = live.run.limits.deadline_seconds or DEADLINE
        runner = Runner(self._provider, live.hear, keep, deadline, live.journal)
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
async def open_desk(provider: Provider, store: RunStore, max_concurrent_runs: int = 4) -> AsyncIterator[Desk]:
    """A desk for as long as the block lasts; leaving it stops the runs that are going on."""
    error: Exception | None = None
    async with anyio.create_task_group() as housekeeping:
        async with anyio.create_task_group() as tasks:
            desk = Desk(tasks, provider, store, max_concurrent_runs)
            housekeeping.start_soon(desk.keep_house)
            try:
                yield desk
            except Exception as raised:  # raised again below: leaving the groups, it would come out wrapped
                error = raised
            tasks.cancel_scope.cancel()
        housekeeping.cancel_scope.cancel()
    if error is not None:
        raise error
