"""Nothing waits for ever: silence, trickles and slow models end in time, and a cancel ends all at once."""

from __future__ import annotations

import anyio
import pytest

from moa_mcp.domain.errors import Reason
from moa_mcp.domain.model import Draft, Failure
from moa_mcp.domain.preset import Limits
from moa_mcp.runs.events import Event
from tests import clock
from tests.faults.fixtures import LONG_REPLY, open_lab, panel, record_of
from tests.upstream import Fault, Reply

pytestmark = clock.jumping


def reason_of(outcome: object) -> Reason | None:
    return outcome.reason if isinstance(outcome, Failure) else None


async def test_a_server_that_accepts_and_says_nothing_is_given_up() -> None:
    async with open_lab({"p1": Fault.hang()}) as lab:
        run = await lab.ask()
        await lab.upstream.until(lambda seen: seen.open == 0)

    silent = record_of(run, "1.1")
    assert (run.status, reason_of(silent.outcome), silent.seconds) == ("completed", Reason.TIMEOUT, 60)


async def test_a_stream_that_falls_silent_keeps_its_part_if_that_is_long_enough() -> None:
    stalled = {"p1": Fault.hang(after=8, reply=LONG_REPLY), "p2": Fault.hang(after=2)}
    async with open_lab(stalled) as lab:
        run = await lab.ask()
        await lab.upstream.until(lambda seen: seen.open == 0)
    kept, dropped = record_of(run, "1.1"), record_of(run, "1.2")

    assert kept.status == "cut"
    assert any("proposer 1.1 (lab/p1) was cut off before its end" in note for note in run.notes)
    assert (dropped.status, reason_of(dropped.outcome)) == ("failed", Reason.STALLED)
    assert (kept.seconds, dropped.seconds) == (30, 30)


@pytest.mark.parametrize("fault", [Fault.drip_comments(25), Fault.drip_headers(25)], ids=str)
async def test_what_only_trickles_is_no_sign_of_life(fault: Fault) -> None:
    async with open_lab({"p1": fault}) as lab:
        run = await lab.ask()

    trickling = record_of(run, "1.1")
    assert (reason_of(trickling.outcome), trickling.seconds) == (Reason.TIMEOUT, 60)


async def test_tokens_without_end_are_cut_at_the_limit_of_the_call() -> None:
    endless = Fault.endless_tokens(every=20, text="1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15. ")
    async with open_lab({"p1": endless}) as lab:
        run = await lab.ask(limits=Limits(deadline_seconds=600))

    assert (record_of(run, "1.1").status, record_of(run, "1.1").seconds) == ("cut", 180)


@pytest.mark.parametrize("fault", [Fault.reset(), Fault.close()], ids=str)
async def test_a_connection_that_breaks_before_the_answer_is_tried_once_more(fault: Fault) -> None:
    async with open_lab({"p1": fault}) as lab:
        run = await lab.ask()

    assert (reason_of(record_of(run, "1.1").outcome), lab.hits("p1")) == (Reason.CONNECTION, 2)


@pytest.mark.parametrize(
    "break_off", [Fault.reset, Fault.close, Fault.close_mid_chunk, Fault.cut], ids=lambda fault: fault.__name__
)
async def test_an_answer_that_breaks_off_is_never_shown_as_whole_nor_asked_for_again(break_off: type[Fault]) -> None:
    async with open_lab({"p1": break_off(8, LONG_REPLY), "p2": break_off(1)}) as lab:  # type: ignore[call-arg,arg-type]  # a factory of faults
        run = await lab.ask()

    assert (record_of(run, "1.1").status, record_of(run, "1.2").status) == ("cut", "failed")
    assert reason_of(record_of(run, "1.2").outcome) is Reason.CUT
    assert (lab.hits("p1"), lab.hits("p2")) == (1, 1)


@pytest.mark.parametrize("unended", [Fault.without_end(), Fault.without_finish()], ids=str)
async def test_a_stream_with_only_one_of_its_two_ends_is_a_success(unended: Fault) -> None:
    async with open_lab({"chief": unended}) as lab:
        run = await lab.ask()

    assert (run.degraded, record_of(run, "2.1").status, run.answer) == (False, "ok", Reply().text)


@pytest.mark.parametrize(
    "script", [Fault.hang(), Fault.drip_comments(25), Fault.hang(after=1), Fault.status(503)], ids=str
)
async def test_a_run_ends_by_its_deadline_whatever_its_models_do(script: Fault) -> None:
    async with open_lab(preset=panel(3, layers=3, fallbacks=1), otherwise=script, draw=1.0) as lab:
        run = await lab.ask(limits=Limits(deadline_seconds=50))

    assert run.status == "failed"
    assert run.seconds <= 50


async def test_slow_proposers_leave_the_aggregator_its_share_of_the_time() -> None:
    async with open_lab({"p1": Fault.drip_comments(25)}) as lab:
        run = await lab.ask(limits=Limits(deadline_seconds=50))

    assert (run.status, reason_of(record_of(run, "1.1").outcome)) == ("completed", Reason.DEADLINE)


async def test_what_a_proposer_has_written_when_the_time_of_its_layer_is_up_is_kept_as_a_part() -> None:
    async with open_lab({"p1": Reply("word " * 1000, pieces=100, delay_per_piece=1)}) as lab:
        run = await lab.ask(limits=Limits(deadline_seconds=50))

    record = record_of(run, "1.1")
    assert isinstance(record.outcome, Draft)
    assert (run.status, record.status, len(record.outcome.text.split())) == ("completed", "cut", 290)


async def test_a_wait_before_a_retry_that_the_deadline_does_not_afford_is_not_begun() -> None:
    busy = Fault.status(429, headers={"retry-after": "50"})
    async with open_lab({"p1": busy}) as lab:
        run = await lab.ask(limits=Limits(deadline_seconds=20))

    assert (reason_of(record_of(run, "1.1").outcome), lab.hits("p1")) == (Reason.RATE_LIMITED, 1)


async def cancelled_at(event: int) -> tuple[int, int, str]:
    """Cancel a run as soon as so many events were heard; what was open then, what came after, and its status."""
    reply = Reply(LONG_REPLY.text, pieces=4, delay=0.002)
    found: list[tuple[int, int, str]] = []
    reached = anyio.Event()
    events = 0

    def listen(_: Event) -> None:
        nonlocal events
        events += 1
        if events == event:
            reached.set()

    async with open_lab(preset=panel(3, layers=3), otherwise=reply) as lab, anyio.create_task_group() as tasks:

        async def watch() -> None:
            await lab.ask(handler=listen)
            reached.set()

        tasks.start_soon(watch)
        await reached.wait()
        live = lab.scheduler.find("local", "run1")
        run = await lab.scheduler.stop(live) if live else await lab.scheduler.get_run("local", "run1")
        before = len(lab.upstream.requests)
        await lab.upstream.until(lambda seen: seen.open == 0)
        await anyio.wait_all_tasks_blocked()
        found.append((lab.upstream.open, len(lab.upstream.requests) - before, run.status))
    return found[0]


async def test_a_cancel_at_any_event_closes_every_call_and_none_is_made_after() -> None:
    ends = [await cancelled_at(event) for event in range(1, 46, 2)]

    assert {(still_open, later) for still_open, later, _ in ends} == {(0, 0)}
    assert "cancelled" in {status for *_, status in ends}
