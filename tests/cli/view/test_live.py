"""What the live view draws of a board, and when it lets go of the terminal."""

import io

import anyio
from rich.console import Console

from moa_mcp.cli.view.live import LiveView, drawing
from moa_mcp.cli.view.progress_table import ProgressTable
from moa_mcp.domain.errors import Reason
from moa_mcp.domain.model import AGGREGATOR, PROPOSER, Batch, Call, CallRecord, ChatCall, Draft, Failure, Usage
from moa_mcp.runs.events import (
    BatchStarted,
    CallEnded,
    CallQueued,
    CallRetried,
    CallSent,
    CallStarted,
    Event,
    StragglersAwaited,
    TextArrived,
)


def a_call(identity: str, role: str = PROPOSER, layer: int = 1, model: str = "lab/p") -> Call:
    return ChatCall(identity, role, layer, 1, model, ())


def ended(identity: str, outcome: Draft | Failure, seconds: float = 1.0) -> CallEnded:
    return CallEnded(CallRecord(a_call(identity), outcome, seconds))


def drawn(*events: Event, now: float = 0.0, room: int = 40, width: int = 120) -> list[str]:
    """The lines of a table that received `events`, all at second 0, at the moment `now`."""
    board = ProgressTable(lambda: 0.0)
    for event in events:
        board.on_event(event)
    console = Console(file=io.StringIO(), width=width, force_terminal=False)
    with console.capture() as captured:
        console.print(drawing(board, "pair", now, now, room))
    return [" ".join(line.split()) for line in captured.get().splitlines()]


LAYER = BatchStarted(Batch(1, (a_call("1.1"), a_call("1.2"))))
ANSWER = BatchStarted(Batch(2, (a_call("2.1", AGGREGATOR, 2, "lab/a"),)))


def test_every_call_has_a_line_with_its_state_seconds_and_tokens() -> None:
    lines = drawn(LAYER, CallStarted(a_call("1.1")), TextArrived(a_call("1.1"), "x" * 48), now=2.0)

    assert lines == [
        "pair 2.0 s ~12 tokens",
        "layer 1 0 of 2 drafts",
        "1.1 lab/p writing 2.0 s ~12 tokens",
        "1.2 lab/p waiting",
    ]


def test_exact_counts_and_prices_stand_without_a_tilde() -> None:
    done = [ended(identity, Draft("x", usage=Usage(5, 1200, 0.0031))) for identity in ("1.1", "1.2")]
    lines = drawn(LAYER, *done, ANSWER, now=3.0)

    assert lines[0] == "pair 3.0 s 2,400 tokens $0.0062"
    assert lines[2] == "1.1 lab/p done 1.0 s 1,200 tokens $0.0031"
    assert lines[-2:] == ["layer 2 the answer", "2.1 lab/a waiting"]


def test_a_call_that_waits_says_for_what_and_how_long() -> None:
    one, two = a_call("1.1"), a_call("1.2")
    retry = CallRetried(one, 2.0, Reason.OVERLOADED)
    lines = drawn(LAYER, CallStarted(one), retry, CallStarted(two), CallQueued(two, 1), now=0.5)
    slow = drawn(LAYER, CallStarted(one), StragglersAwaited((one,), 12.0), now=0.0)
    over = drawn(LAYER, CallStarted(one), retry, CallSent(one), now=0.5)

    assert lines[2] == "1.1 lab/p asked 0.5 s the provider is overloaded, retry in 2 s"
    assert lines[3] == "1.2 lab/p asked 0.5 s waiting for its turn (1 at a time)"
    assert slow[2] == "1.1 lab/p asked 0.0 s waiting for a slow one, 12 s left"
    assert over[2] == "1.1 lab/p asked 0.5 s"


def test_a_failed_call_says_why() -> None:
    lines = drawn(LAYER, ended("1.1", Failure(Reason.RATE_LIMITED, "slow down")))

    assert lines[2].startswith("1.1 lab/p failed 1.0 s rate limited")
    assert len(lines) == 4


def test_on_a_narrow_terminal_names_and_reasons_are_cut_and_figures_are_whole() -> None:
    far = a_call("1.1", model="lab/a-model-with-a-name-as-long-as-they-often-are")
    done = CallEnded(CallRecord(far, Draft("x", usage=Usage(5, 1200, 0.0031)), 1.0))
    failed = ended("1.2", Failure(Reason.RATE_LIMITED, "slow down"))
    lines = drawn(BatchStarted(Batch(1, (far, failed.record.call))), done, failed, now=2.0, width=72)

    assert lines[2].startswith("1.1 lab/a-")
    assert lines[2].endswith("… done 1.0 s 1,200 tokens $0.0031")
    assert "failed 1.0 s" in lines[3]


def test_finished_layers_shrink_to_a_line_where_the_screen_is_too_small() -> None:
    done = [ended(identity, Draft("x", usage=Usage(5, 7, 0.1))) for identity in ("1.1", "1.2")]
    lines = drawn(LAYER, *done, ANSWER, room=5)

    assert lines[1:] == ["layer 1 2 of 2 drafts", "layer 2 the answer", "2.1 lab/a waiting"]


def test_names_and_errors_reach_the_terminal_without_escape_sequences() -> None:
    evil = ChatCall("1.1", PROPOSER, 1, 1, "lab/\x1b[31mred[bold]", ())
    lines = drawn(CallEnded(CallRecord(evil, Failure(Reason.AUTH, "\x1b]0;title\x07no"), 1.0)))

    assert not any("\x1b" in line or "\x07" in line for line in lines)
    assert "[bold]" in lines[2]


async def test_the_view_lets_go_of_the_terminal_before_the_answer_is_written() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=100, height=30)
    view = LiveView("pair", console, yields_to=lambda event: isinstance(event, TextArrived))
    seen = ""
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(view.run)
            await anyio.wait_all_tasks_blocked()
            view.on_event(LAYER)
            view.on_event(TextArrived(a_call("1.1"), "The"))
            seen = console.file.getvalue()  # type: ignore[attr-defined]  # a StringIO
            view.on_event(ended("1.1", Draft("The end")))
            view.redraw()
            tasks.cancel_scope.cancel()

    assert "1.1" in seen
    assert console.file.getvalue() == seen  # type: ignore[attr-defined]  # a StringIO
