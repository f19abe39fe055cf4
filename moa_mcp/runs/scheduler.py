"""The scheduler owns the live runs, so that a run belongs to the server and not to one MCP call.

service.py decides before this what a caller may ask; the runner makes the calls.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from functools import partial
from types import MappingProxyType

import anyio
from anyio.abc import TaskGroup

from moa_mcp.domain.errors import Busy, MoAError, Reason, UnknownRun, describe_reason
from moa_mcp.domain.model import Answer, CallRecord, PanelCall, Run
from moa_mcp.flows.panel import ask_panel
from moa_mcp.providers.base import Provider
from moa_mcp.runs.background import background_tasks
from moa_mcp.runs.endings import CANCEL, DROP, SERVER_END, completed, stopped, was_cut_off
from moa_mcp.runs.events import (
    BranchEnded,
    CallEnded,
    Event,
    EventHandler,
    RunEnded,
    RunHandedOver,
    RunQueued,
    RunStarted,
    end_event,
    stamped,
)
from moa_mcp.runs.journal import StoredJournal
from moa_mcp.runs.learned import LearnedTexts
from moa_mcp.runs.live_run import LiveRun
from moa_mcp.runs.runner import Runner
from moa_mcp.runs.upstream_gate import IsSent, UpstreamGate
from moa_mcp.store.base import AdmittedRun, RunStore
from moa_mcp.store.daily_budget import DayReservation, ReservationRequest

logger = logging.getLogger(__name__)

MAX_QUEUED_RUNS = 16
"""How many runs may be queued. One more run raises Busy."""

DEFAULT_DEADLINE_SECONDS = 300.0
"""Seconds that a run may take if its limits set no deadline."""

HEARTBEAT_SECONDS = 5.0
"""Seconds between two heartbeats for the other servers on the same store."""

PRUNE_INTERVAL_SECONDS = 3600.0
"""Seconds between two prunings of the store."""

_NO_RECORDS: Mapping[str, CallRecord] = MappingProxyType({})


ProviderFor = Callable[[Run], Provider]
"""Makes a provider for one run, with its own retries and budget. The run's `calls` were paid for before."""


class RunScheduler:
    """Starts runs, waits for them and stops them. Use it through `open_scheduler`.

    `learned` has the texts that completed runs learned, for later runs of the same owner. All requests to models go
    through `gate`.
    """

    def __init__(
        self, tasks: TaskGroup, provider_for: ProviderFor, store: RunStore, max_concurrent_runs: int, gate: UpstreamGate
    ) -> None:
        self.gate = gate
        self._tasks = tasks
        self._provider_for = provider_for
        self._store = store
        self._turns = anyio.CapacityLimiter(max_concurrent_runs)
        self._live: dict[str, LiveRun] = {}
        self._arriving = 0
        self._start_lock = anyio.Lock()
        self._watchers: list[EventHandler] = []
        self._reported_warnings: dict[str, set[str]] = {}
        self.learned = LearnedTexts()

    def subscribe(self, handler: EventHandler) -> None:
        """Send `handler` the events of all runs of all owners, as long as the scheduler is open."""
        self._watchers.append(handler)

    async def hand_over(self, run: Run) -> Run:
        """Return the run to its owner. A completed run becomes the owner's latest run."""
        if run.status == "completed":
            await self._store.make_latest(run.owner, run.run_id)
            for handler in self._watchers:
                handler(stamped(RunHandedOver(run), run))
        return run

    async def start(self, run: Run, request: ReservationRequest, since: float | None = None) -> LiveRun | Run:
        """Start a run, which then belongs to the scheduler, or return the stored run that can be reused (see
        `RunStore.admit`).

        Raises:
            Busy: no stored run can be reused, and the queue is full.
            OverBudget: the daily budget of the owner has no room for the run.
        """
        if not self._has_room and since is not None and (before := await self._store.find(run.owner, run.key, since)):
            return before
        with self._reserve_place():
            match await self._store.admit(run, request, since):
                case AdmittedRun(admitted, hold):
                    return self._launch(admitted, hold)
                case before:
                    return before

    async def resume(
        self, owner: str, run_id: str, request: ReservationRequest, notes: Sequence[str] = ()
    ) -> LiveRun | None:
        """Resume an interrupted run: replay the calls that were paid for, and send the rest. The run gets `notes`.

        Returns None if there is no such run, or if another server has taken it over. Raises the same errors as `start`.
        """
        with self._reserve_place():
            claimed = await self._store.claim(owner, run_id, request)
            if claimed is None:
                return None
            known = {record.call.id: record for record in (*claimed.run.calls, *claimed.run.panels)}
            run = claimed.run
            run = replace(run, notes=(*run.notes, *(note for note in notes if note not in run.notes)))
            return self._launch(run, claimed.reservation, known)

    @contextmanager
    def _reserve_place(self) -> Generator[None]:
        """Keep a place in the queue for a run while the store admits it. Raises Busy if the queue is full.

        The block is shielded from cancellation: otherwise a run could be admitted in the store and never be launched.
        """
        if not self._has_room:
            raise Busy(f"{MAX_QUEUED_RUNS} runs are waiting already. Ask again when one of them is done.")
        self._arriving += 1
        try:
            with anyio.CancelScope(shield=True):
                yield
        finally:
            self._arriving -= 1

    def _launch(self, run: Run, reservation: DayReservation, known: Mapping[str, CallRecord] = _NO_RECORDS) -> LiveRun:
        def on_written(record: CallRecord) -> None:
            self._on_event(live, end_event(record))

        write = partial(self._store.write_ahead, run.run_id)
        live = LiveRun(
            run,
            StoredJournal(known, reservation, write, on_written, self._do_soon),
            elapsed_before_resume=run.seconds,
            watchers=self._watchers,
        )
        self._live[run.run_id] = live
        self._tasks.start_soon(self._play, live, name=f"run {run.run_id}")
        live.publish(RunStarted(run))
        return live

    def _do_soon(self, work: Callable[[], Awaitable[None]]) -> None:
        async def do_and_log() -> None:
            try:
                await work()
            except Exception:
                logger.exception("The reservation of a run in its owner's day could not be stored")

        self._tasks.start_soon(do_and_log)

    async def find_by_key(self, owner: str, key: str) -> LiveRun | None:
        """Return the owner's live run with that key. If it is being stopped, wait for its end and do not return it."""
        for live in tuple(self._live.values()):
            if (live.initial.owner, live.initial.key) == (owner, key) and await live.goes_on():
                return live
        return None

    def find(self, owner: str, run_id: str) -> LiveRun | None:
        """Return the owner's live run with that id."""
        live = self._live.get(run_id)
        return live if live and live.initial.owner == owner else None

    async def wait(self, live: LiveRun, seconds: float | None, handler: EventHandler | None = None) -> Run:
        """Wait at most `seconds` (None: no limit) for the end of a run, and return its state then.

        If the last waiting caller is cancelled, the run is interrupted, because nobody wants its answer any more. A
        detached run is not interrupted: its caller has the run id and can come back for the answer.
        """
        live.waiters += 1
        try:
            with live.handled_by(handler), anyio.move_on_after(seconds):
                await live.done.wait()
        except anyio.get_cancelled_exc_class():
            if live.waiters == 1 and not live.detached:
                live.stop(DROP)
            raise
        finally:
            live.waiters -= 1
        live.detached = live.detached or not live.done.is_set()
        return live.snapshot()

    async def stop(self, live: LiveRun) -> Run:
        """Cancel a run and its calls, and return its final state."""
        live.stop(CANCEL)
        await live.done.wait()
        return live.run

    async def get_run(self, owner: str, run_id: str) -> Run:
        """Return the current state of a live or ended run.

        Raises:
            UnknownRun: the owner has no run with that id.
        """
        if live := self.find(owner, run_id):
            return live.snapshot()
        if run := await self._store.get(owner, run_id):
            return run
        raise UnknownRun(run_id)

    async def maintain(self) -> None:
        """While there are live runs, send heartbeats, so that no other server takes them over, and prune the store."""
        async with anyio.create_task_group() as prunings:
            prune_at = anyio.current_time()
            while True:
                await anyio.sleep(HEARTBEAT_SECONDS)
                if not self._live:
                    continue
                await self._store.heartbeat()
                if anyio.current_time() >= prune_at:
                    prune_at = anyio.current_time() + PRUNE_INTERVAL_SECONDS
                    prunings.start_soon(self._store.prune, name="clearing the store")

    @property
    def _has_room(self) -> bool:
        return len(self._live) + self._arriving < self._turns.total_tokens + MAX_QUEUED_RUNS

    def _on_event(self, live: LiveRun, event: Event) -> None:
        replayed = isinstance(event, CallEnded | BranchEnded) and event.record.call.id in live.journal.known
        if not replayed:  # a replayed record has been in the run since the resume
            live.publish(event)

    async def _play(self, live: LiveRun) -> None:
        final = live.initial
        try:
            final = await self._outcome(live)
        except anyio.get_cancelled_exc_class():
            final = stopped(live.run, live.stopped or SERVER_END)
            raise
        finally:
            final = replace(final.with_records(live.journal.pending), seconds=live.elapsed_seconds())
            # Shielded, because a cancelled run is settled too; limited, because a slow disk must not block the end.
            with anyio.move_on_after(2, shield=True):
                await self._close(live, final)
            live.journal.close()
            live.final = final = replace(final, notes=(*final.notes, *self._new_warnings(final.owner)))
            del self._live[final.run_id]
            live.publish(RunEnded(final))
            live.done.set()

    def _new_warnings(self, owner: str) -> list[str]:
        """Return the store's warnings for this owner that no earlier run has reported."""
        reported = self._reported_warnings.setdefault(owner, set())
        new = [warning for warning in self._store.warnings(owner) if warning not in reported]
        reported.update(new)
        return new

    async def _close(self, live: LiveRun, final: Run) -> None:
        try:
            async with anyio.create_task_group() as writes:  # concurrently, so that they share one commit
                writes.start_soon(live.journal.write)
                writes.start_soon(self._store.finish, final)
                if final.status == "cancelled":  # no resume sends these calls again: keep them
                    writes.start_soon(self._store.add_records, final.run_id, list(filter(was_cut_off, final.calls)))
                writes.start_soon(self._store.settle, live.journal.hold, live.spent())
                if live.waiters:
                    writes.start_soon(self.hand_over, final)
        except Exception:
            # The caller still gets the answer, and the other runs continue.
            logger.exception("The end of run %s could not be stored", live.initial.run_id)

    async def _outcome(self, live: LiveRun) -> Run:
        try:
            with live.scope:
                if not self._turns.available_tokens:
                    live.publish(RunQueued(self._turns.statistics().tasks_waiting))
                async with self._turns:
                    await self._stagger_start()
                    answer = await self._answer(live)
                    return completed(live.run, answer)
        except MoAError as error:
            return replace(live.run, status="failed", error=str(error))
        except Exception:
            # A bug in one run must not end the others. The log has the traceback; the caller gets a short error text.
            logger.exception("Run %s broke", live.initial.run_id)
            return replace(live.run, status="failed", error=describe_reason(Reason.INTERNAL))
        return stopped(live.run, live.stopped or SERVER_END)

    async def _stagger_start(self) -> None:
        """Let runs that arrive at the same time start one after another.

        Otherwise they would all send, wait and read at the same moments, and each would wait for all others. With the
        store in memory, 100 runs at once took a fifth longer.
        """
        async with self._start_lock:
            pass

    async def _answer(self, live: LiveRun) -> Answer:
        deadline = live.initial.limits.deadline_seconds or DEFAULT_DEADLINE_SECONDS
        paid = (record for record in live.journal.known.values() if not isinstance(record.call, PanelCall))
        provider = self._provider_for(replace(live.initial, calls=tuple(paid)))
        live.journal.keep_for(provider)
        # The gate is the outermost wrapper: once it is closed, a call stops its run before anything is booked or sent.
        # It comes after keep_for, because the wrapped provider is no longer a Booking.
        provider = self.gate.guard(provider, partial(live.stop, SERVER_END))
        runner = Runner(provider, partial(self._on_event, live), live.journal, deadline)
        answer = await runner.drive(ask_panel(live.initial.task, live.initial.plan))
        self.learned.learn(live.initial.owner, answer.learned)
        return answer


@asynccontextmanager
async def open_scheduler(
    provider_for: ProviderFor, store: RunStore, max_concurrent_runs: int = 4, is_sent: IsSent = lambda call: True
) -> AsyncGenerator[RunScheduler]:
    """Open a scheduler for the block. At the end of the block, live runs are stopped.

    The heartbeats stop after the runs, so that no other server takes over a run that is still being stored.
    """
    async with background_tasks() as housekeeping, background_tasks() as tasks:
        scheduler = RunScheduler(tasks, provider_for, store, max_concurrent_runs, UpstreamGate(is_sent))
        housekeeping.start_soon(scheduler.maintain)
        yield scheduler
