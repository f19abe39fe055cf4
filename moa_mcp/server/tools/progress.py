"""How a run gets on, told while it is waited for: rising numbers and a line of words, never too often.

Hearing is instant; telling is a task of its own, so that a slow client cannot hold up a run.
"""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio

from moa_mcp.domain.endpoints import split_model
from moa_mcp.domain.model import AGGREGATOR, PROPOSER, Call, CallRecord, Draft
from moa_mcp.domain.text import one_line
from moa_mcp.runs.events import BatchStarted, CallEnded, CallStarted, Event, EventHandler, RunPlanned, TextArrived
from moa_mcp.runs.waits import Waits
from moa_mcp.views.run import format_cost

logger = logging.getLogger(__name__)

MIN_INTERVAL_SECONDS = 0.5
"""Seconds between two notices at least."""

HEARTBEAT_SECONDS = 8.0
"""Seconds without a notice at most: clients take ten or fifteen silent ones for a server that is gone."""

MAX_NAMED = 3
"""How many of the models at work a notice names."""

MAX_LINE_CHARS = 200
"""Letters of a notice; clients cut longer ones."""

Send = Callable[[float, float | None, str], Awaitable[None]]
"""Tells the client how far the run is, of how much if that is known, and the same in words."""


@dataclass(slots=True)
class Progress:
    """What was heard of a run so far."""

    planned: int = 0
    ended: int = 0
    begun: int = 0
    layer: int = 0
    concluding: bool = False
    working: dict[str, Call] = field(default_factory=dict[str, Call])
    cost_usd: float | None = 0.0
    waits: Waits = field(default_factory=lambda: Waits(time.monotonic))
    _notices: int = 0

    def on_event(self, event: Event) -> None:
        """Take an event in."""
        self.waits.on_event(event)
        match event:
            case RunPlanned(calls):
                self.planned = calls
            case BatchStarted(batch):
                self.begun += len(batch.calls)
                self.layer = max(self.layer, batch.layer)
                self.concluding = self.concluding or any(map(_writes_the_answer, batch.calls))
            case CallStarted(call):
                self.working[call.id] = call
            case CallEnded(record):
                self._take(record)
            case _:
                pass

    def position(self) -> tuple[float, float | None]:
        """How far the run is, and of how much; each time it is further than the time before.

        That is the calls that ended and a growing part of the next one. How many there will be is what was
        planned, until the aggregator is at work: what comes before may end early.
        """
        far = self.ended + self._notices / (self._notices + 1)
        self._notices += 1
        planned = 0 if self.concluding else self.planned
        known = max(planned, self.begun, self.ended + len(self.working), far)
        return far, known if self.concluding or planned else None

    def line(self, seconds: float) -> str:
        """How far the run is after `seconds`, and what it waits for, in words."""
        waits = self.waits.line(time.monotonic())
        if not self.layer:
            return f"{waits or 'waiting'} · {seconds:.0f} s"
        done = f"{self.ended} call{'' if self.ended == 1 else 's'} done"
        parts = [f"layer {self.layer}", done, _at_work(list(self.working.values())), waits]
        parts += [f"{seconds:.0f} s", format_cost(self.cost_usd)]
        return one_line(" · ".join(filter(None, parts)), MAX_LINE_CHARS)

    def _take(self, record: CallRecord) -> None:
        self.working.pop(record.call.id, None)
        self.layer = max(self.layer, record.call.layer)
        self.ended += 1
        self._notices = 0
        price = record.outcome.usage.cost_usd
        if price is None and isinstance(record.outcome, Draft):
            self.cost_usd = None
        elif price is not None and self.cost_usd is not None:
            self.cost_usd += price


@asynccontextmanager
async def report_progress(
    send: Send, *, pace: float = MIN_INTERVAL_SECONDS, heartbeat: float = HEARTBEAT_SECONDS
) -> AsyncGenerator[EventHandler]:
    """Tell a client of a run that is waited for in the block, with the listener that the block is given.

    Nothing is told once the block is left. `pace` and `heartbeat` are seconds.
    """
    progress, news = Progress(), _Signal()

    def on_event(event: Event) -> None:
        progress.on_event(event)
        if not isinstance(event, TextArrived):
            news.set()

    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_report, send, progress, news, pace, heartbeat)
            yield on_event
            tasks.cancel_scope.cancel()
    except ExceptionGroup as group:
        # The task group packed the block's own error; telling raises none.
        raise group.exceptions[0] from None


async def _report(send: Send, progress: Progress, signal: _Signal, pace: float, heartbeat: float) -> None:
    started = anyio.current_time()
    try:
        while True:
            await signal.wait(heartbeat)
            far, total = progress.position()
            await send(far, total, progress.line(anyio.current_time() - started))
            await anyio.sleep(pace)
    except Exception:
        # A client that cannot be told must not cost the run that it waits for.
        logger.exception("Progress could not be told")


class _Signal:
    """Whether anything happened since it was last waited for."""

    def __init__(self) -> None:
        self._event = anyio.Event()

    def set(self) -> None:
        self._event.set()

    async def wait(self, seconds: float) -> None:
        """Return at the next news, and after `seconds` without any."""
        with anyio.move_on_after(seconds):
            await self._event.wait()
        self._event = anyio.Event()


def _writes_the_answer(call: Call) -> bool:
    return call.role == AGGREGATOR and call.parent is None


def _at_work(calls: list[Call]) -> str:
    if not calls:
        return ""
    names = [split_model(call.model)[1].rpartition("/")[2] for call in calls[:MAX_NAMED]]
    more = f" and {len(calls) - MAX_NAMED} more" if len(calls) > MAX_NAMED else ""
    return f"{', '.join(names)}{more} {_doing(calls)}"


def _doing(calls: list[Call]) -> str:
    if any(map(_writes_the_answer, calls)):
        return "concluding"
    return "drafting" if all(call.role == PROPOSER for call in calls) else "at work"
