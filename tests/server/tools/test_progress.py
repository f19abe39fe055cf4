"""The reports of progress that a client gets while it waits for a run."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from itertools import pairwise
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moa_mcp.domain.errors import Busy, Reason
from moa_mcp.domain.model import Batch, CallRecord, ChatCall, Draft, Failure, Message, Usage
from moa_mcp.runs.events import (
    BatchStarted,
    CallEnded,
    CallRetried,
    CallSent,
    CallStarted,
    Event,
    RunPlanned,
    RunQueued,
    TextArrived,
)
from moa_mcp.server.tools.progress import MAX_LINE_CHARS, Progress, report_progress
from moa_mcp.testing.scripted import HoldingProvider, ScriptedProvider

Serve = Callable[..., AbstractAsyncContextManager[Any]]
Notice = tuple[float, float | None, str]

OWL = ChatCall("1.1", "proposer", 1, 1, "openrouter/night/owl-7b", (Message("user", "Q?"),))
CHIEF = replace(OWL, id="2.1", role="aggregator", layer=2, model="lab/chief")
PLANNED = RunPlanned(13)
EVENTS: list[Event] = [
    BatchStarted(Batch(1, (OWL,))),
    BatchStarted(Batch(2, (CHIEF,))),
    CallStarted(OWL),
    TextArrived(OWL, "piece"),
    CallEnded(CallRecord(OWL, Draft("text", usage=Usage(1, 2, 0.5)), 1.5)),
    CallEnded(CallRecord(OWL, Failure(Reason.TIMEOUT), 1.5)),
]


@given(st.lists(st.sampled_from([*EVENTS, PLANNED, None])))
def test_the_position_rises_with_every_report(events: list[Event | None]) -> None:
    """None means a report."""
    progress = Progress()
    values: list[float] = []
    for event in events:
        if event is None:
            value, total = progress.position()
            values.append(value)
            assert total is None or value <= total
        else:
            progress.on_event(event)

    assert all(before < after for before, after in pairwise(values))


def test_the_line_says_what_the_run_waits_for() -> None:
    progress = Progress()
    progress.on_event(RunQueued(2))
    queued = progress.line(1)
    progress.on_event(EVENTS[0])
    progress.on_event(CallStarted(OWL))
    progress.on_event(CallRetried(OWL, 3600, Reason.RATE_LIMITED))
    retrying = progress.line(2)
    progress.on_event(CallSent(OWL))
    sent = progress.line(3)

    assert queued == "waiting for its turn, 2 runs ahead · 1 s"
    assert "owl-7b drafting · rate limited, retry in " in retrying
    assert "retry" not in sent


def test_the_line_says_who_is_at_work_how_far_it_is_and_what_it_cost() -> None:
    progress = Progress()
    progress.on_event(EVENTS[0])
    progress.on_event(CallStarted(replace(OWL, id="1.2")))
    progress.on_event(EVENTS[4])
    drafting = progress.line(12.4)
    progress.on_event(CallEnded(CallRecord(replace(OWL, id="1.2"), Draft("text"), 1)))
    progress.on_event(EVENTS[1])
    progress.on_event(CallStarted(CHIEF))

    assert drafting == "layer 1 · 1 call done · owl-7b drafting · 12 s · $0.5000"
    assert (
        progress.line(20)
        == "layer 2 · 2 calls done · chief concluding · 20 s · at least $0.5000, 1 call without a price"
    )


def test_the_line_is_short_with_many_models_at_work() -> None:
    progress = Progress()
    progress.on_event(EVENTS[0])
    for number in range(64):
        progress.on_event(CallStarted(replace(OWL, id=f"1.{number}", model=f"lab/{number}{'x' * 90}")))

    assert len(progress.line(1)) <= MAX_LINE_CHARS


def test_all_calls_are_counted_once_the_aggregator_is_at_work() -> None:
    progress = Progress()
    totals: list[float | None] = []
    for event in (EVENTS[0], EVENTS[4], EVENTS[1]):
        progress.on_event(event)
        totals.append(progress.position()[1])

    assert totals == [None, None, 2]


def test_until_then_as_many_are_counted_as_were_planned() -> None:
    progress = Progress()
    totals: list[float | None] = []
    for event in (PLANNED, EVENTS[0], EVENTS[4], EVENTS[1]):
        progress.on_event(event)
        totals.append(progress.position()[1])

    assert totals == [13, 13, 13, 2]


async def test_a_client_gets_a_report_of_every_stage_and_none_after_the_result(serve: Serve) -> None:
    gate = HoldingProvider(ScriptedProvider(lambda call: call.id), lambda call: call.role == "aggregator")
    notices: list[Notice] = []

    async def hear(value: float, total: float | None, line: str | None) -> None:
        notices.append((value, total, line or ""))
        if gate.held.is_set():
            gate.opened.set()

    async with serve(gate) as served:
        await served.client.call_tool("moa_ask", {"question": "Q?"}, progress_callback=hear)
        heard = list(notices)
        await served.client.list_tools()

    assert [value for value, _, _ in heard] == sorted({value for value, _, _ in heard})
    assert heard[-1][1] == 3
    assert "agg concluding" in heard[-1][2]
    assert notices == heard


async def test_a_client_that_joins_a_run_gets_a_report_of_the_earlier_calls(serve: Serve) -> None:
    gate = HoldingProvider(ScriptedProvider(lambda call: call.id), lambda call: call.role == "aggregator")
    lines: list[str] = []

    async def hear(value: float, total: float | None, line: str | None) -> None:
        lines.append(line or "")
        gate.opened.set()

    async with serve(gate) as served:
        run_id = (await served.ask(question="Q?", wait_seconds=0)).facts["run_id"]
        await gate.held.wait()
        await served.client.call_tool("moa_ask", {"run_id": run_id}, progress_callback=hear)

    assert lines[0].startswith("layer 1 · 2 calls done")


async def test_a_silent_run_is_reported_again_and_again() -> None:
    notices: list[Notice] = []
    enough = anyio.Event()

    async def send(value: float, total: float | None, line: str) -> None:
        notices.append((value, total, line))
        if len(notices) == 4:
            enough.set()

    with anyio.fail_after(10):
        async with report_progress(send, pace=0, heartbeat=0.001):
            await enough.wait()

    assert len({value for value, _, _ in notices}) == len(notices)
    assert notices[0][2].startswith("waiting")


async def test_a_client_that_takes_no_notice_does_not_hold_up_the_run() -> None:
    async def send(value: float, total: float | None, line: str) -> None:
        await anyio.sleep_forever()

    with anyio.fail_after(10):
        async with report_progress(send) as handler:
            for event in EVENTS * 50:
                handler(event)
                await anyio.lowlevel.checkpoint()


async def test_a_notice_that_cannot_be_sent_does_not_cost_the_run(caplog: pytest.LogCaptureFixture) -> None:
    broken = anyio.Event()

    async def send(value: float, total: float | None, line: str) -> None:
        broken.set()
        raise OSError("no client")

    with anyio.fail_after(10):
        async with report_progress(send) as handler:
            handler(EVENTS[0])
            await broken.wait()
            await anyio.lowlevel.checkpoint()

    assert "no client" in caplog.text


async def test_an_error_comes_out_as_it_is() -> None:
    async def send(value: float, total: float | None, line: str) -> None: ...

    with pytest.raises(Busy, match="No room"):
        async with report_progress(send):
            raise Busy("No room.")
