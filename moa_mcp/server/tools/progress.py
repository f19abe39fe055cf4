"""Reports the progress of a run to a waiting client: rising numbers and a line of text, at a limited rate.

The event handler only records events. A separate task sends the reports, so that a slow client cannot delay a run.
"""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio

from moa_mcp.domain.endpoints import split_model
from moa_mcp.domain.model import AGGREGATOR, PROPOSER, Call, CallRecord
from moa_mcp.domain.text import one_line
from moa_mcp.runs.background import background_tasks
from moa_mcp.runs.events import BatchStarted, CallEnded, CallStarted, Event, EventHandler, RunPlanned, TextArrived
from moa_mcp.runs.waits import Waits
from moa_mcp.views.run import format_total_cost

logger = logging.getLogger(__name__)

MIN_INTERVAL_SECONDS = 0.5
"""The minimum time between two reports, in seconds."""

HEARTBEAT_SECONDS = 8.0
"""The maximum time without a report, in seconds. Clients assume a dead server after 10 or 15 silent seconds."""

MAX_NAMED = 3
"""The maximum of model names in a report."""

MAX_LINE_CHARS = 200
"""The maximum length of a report in characters. Clients cut longer ones."""

Send = Callable[[float, float | None, str], Awaitable[None]]
"""Sends a report: the position, the total (None if unknown), and a line of text."""


@dataclass(slots=True)
class Progress:
    """The state of a run, from its events so far."""

    planned: int = 0
    ended: int = 0
    begun: int = 0
    layer: int = 0
    concluding: bool = False
    working: dict[str, Call] = field(default_factory=dict[str, Call])
    known_cost_usd: float = 0.0
    unpriced_calls: int = 0
    waits: Waits = field(default_factory=lambda: Waits(time.monotonic))
    _notices: int = 0

    def on_event(self, event: Event) -> None:
        """Record an event."""
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
                self._count_ended(record)
            case _:
                pass

    def position(self) -> tuple[float, float | None]:
        """The position and the total of the run. The position rises with each call, as the protocol requires.

        It is the number of ended calls plus a growing fraction of the next one. The total is the planned number of
        calls until the aggregator starts, and then the real number, because earlier layers may end early.
        """
        position = self.ended + self._notices / (self._notices + 1)
        self._notices += 1
        planned = 0 if self.concluding else self.planned
        total = max(planned, self.begun, self.ended + len(self.working), position)
        return position, total if self.concluding or planned else None

    def line(self, seconds: float) -> str:
        """A line of text: the progress after `seconds`, and what the run waits for."""
        waits = self.waits.line(time.monotonic())
        if not self.layer:
            return f"{waits or 'waiting'} · {seconds:.0f} s"
        done = f"{self.ended} call{'' if self.ended == 1 else 's'} done"
        parts = [f"layer {self.layer}", done, _at_work(list(self.working.values())), waits]
        parts += [f"{seconds:.0f} s", format_total_cost(self.known_cost_usd, self.unpriced_calls)]
        return one_line(" · ".join(filter(None, parts)), MAX_LINE_CHARS)

    def _count_ended(self, record: CallRecord) -> None:
        self.working.pop(record.call.id, None)
        self.layer = max(self.layer, record.call.layer)
        self.ended += 1
        self._notices = 0
        self.known_cost_usd += record.outcome.usage.cost_usd or 0.0
        self.unpriced_calls += record.is_billed and record.outcome.usage.cost_usd is None


@asynccontextmanager
async def report_progress(
    send: Send, *, pace: float = MIN_INTERVAL_SECONDS, heartbeat: float = HEARTBEAT_SECONDS
) -> AsyncGenerator[EventHandler]:
    """Report the progress of a run while the block waits for it. Yields the event handler for the run.

    After the block no report is sent. `pace` and `heartbeat` are in seconds.
    """
    progress, signal = Progress(), _Signal()

    def on_event(event: Event) -> None:
        progress.on_event(event)
        if not isinstance(event, TextArrived):
            signal.set()

    async with background_tasks() as tasks:
        tasks.start_soon(_report, send, progress, signal, pace, heartbeat)
        yield on_event


async def _report(send: Send, progress: Progress, signal: _Signal, pace: float, heartbeat: float) -> None:
    started = anyio.current_time()
    try:
        while True:
            await signal.wait(heartbeat)
            position, total = progress.position()
            await send(position, total, progress.line(anyio.current_time() - started))
            await anyio.sleep(pace)
    except Exception:
        # A client that cannot receive reports must not end the run.
        logger.exception("Progress could not be reported")


class _Signal:
    """Whether an event happened since the last `wait`."""

    def __init__(self) -> None:
        self._event = anyio.Event()

    def set(self) -> None:
        self._event.set()

    async def wait(self, seconds: float) -> None:
        """Return at the next event, or after `seconds`."""
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
    activity = "drafting" if all(call.role == PROPOSER for call in calls) else "at work"
    return f"{', '.join(names)}{more} {'concluding' if any(map(_writes_the_answer, calls)) else activity}"
