"""The answer on its way out: streamed to a terminal, alone to a pipe, or in the run as JSON."""

import io
import json
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace

import pytest

from moa_mcp.cli.view.answer import AnswerWriter, JsonWriter, PlainWriter, StreamingWriter
from moa_mcp.domain.errors import Reason
from moa_mcp.domain.model import AGGREGATOR, PROPOSER, Call, CallRecord, ChatCall, Draft, Failure, Run, RunStatus, Task
from moa_mcp.domain.preset import Aggregator, Preset, Proposer
from moa_mcp.domain.shortfalls import Shortfall
from moa_mcp.domain.text import strip_invisible
from moa_mcp.runs.events import CallEnded, Event, TextArrived

PRESET = Preset(name="two", proposers=(Proposer(model="lab/p"),), aggregator=Aggregator(model="lab/a"))
PROPOSAL = ChatCall("1.1", PROPOSER, 1, 1, "lab/p", ())
AGGREGATION = ChatCall("2.1", AGGREGATOR, 2, 1, "lab/a", ())
FALLBACK = ChatCall("2.1.fallback1", AGGREGATOR, 2, 1, "lab/b", ())


def a_run(answer: str | None, draft: str = "A draft.") -> Run:
    calls = (CallRecord(PROPOSAL, Draft(draft), 1.0),)
    status: RunStatus = "failed" if answer is None else "completed"
    return Run("run1", "two", PRESET, Task("Q?"), status=status, answer=answer, calls=calls)


def pieces(call: Call, *texts: str) -> list[Event]:
    return [TextArrived(call, text) for text in texts]


def streamed(events: Sequence[Event], run: Run, *, drafts: bool = False) -> None:
    outlet = StreamingWriter(drafts)
    for event in events:
        outlet.on_event(event)
    outlet.finish(run)


Capture = pytest.CaptureFixture[str]


def test_the_pieces_of_the_answer_are_written_once(capsys: Capture) -> None:
    streamed([*pieces(PROPOSAL, "A draft."), *pieces(AGGREGATION, "It is ", "42.")], a_run("It is 42."))

    assert capsys.readouterr() == ("It is 42.\n", "")


def test_pieces_that_differ_from_the_answer_only_in_the_space_around_them_are_the_answer(
    capsys: Capture,
) -> None:
    streamed(pieces(AGGREGATION, "\n\nIt is 42."), a_run("It is 42."))

    assert capsys.readouterr().out == "\n\nIt is 42.\n"


def test_an_answer_that_never_came_in_pieces_is_written_whole(capsys: Capture) -> None:
    streamed(pieces(PROPOSAL, "A draft."), a_run("A draft."))

    assert capsys.readouterr() == ("A draft.\n", "")


def test_when_a_fallback_starts_again_a_line_on_stderr_says_so(capsys: Capture) -> None:
    broken = CallEnded(CallRecord(AGGREGATION, Failure(Reason.STALLED), 1.0))
    streamed([*pieces(AGGREGATION, "It is 4"), broken, *pieces(FALLBACK, "It is 42.")], a_run("It is 42."))

    out, err = capsys.readouterr()
    assert out == "It is 4\nIt is 42.\n"
    assert err.startswith("moa-mcp: lab/a broke off: ")
    assert err.endswith("Only what follows counts.\n")


def test_a_fallback_after_a_failure_without_a_word_is_no_news(capsys: Capture) -> None:
    failed = CallEnded(CallRecord(AGGREGATION, Failure(Reason.AUTH), 1.0))
    streamed([failed, *pieces(FALLBACK, "It is 42.")], a_run("It is 42."))

    assert capsys.readouterr() == ("It is 42.\n", "")


def test_an_answer_that_differs_from_its_pieces_is_written_whole_after_them(capsys: Capture) -> None:
    streamed(pieces(AGGREGATION, "It is 41."), a_run("It is 42."))

    out, err = capsys.readouterr()
    assert out == "It is 41.\nIt is 42.\n"
    assert "revised" in err


def test_an_unfinished_answer_ends_its_line(capsys: Capture) -> None:
    streamed(pieces(AGGREGATION, "It is"), a_run(None))

    assert capsys.readouterr() == ("It is\n", "")


def test_a_panel_in_a_slot_does_not_speak_for_the_run(capsys: Capture) -> None:
    inner = ChatCall("1.1/2.1", AGGREGATOR, 1, 1, "lab/inner", (), branches=("1.1",))
    streamed([*pieces(inner, "inner"), *pieces(AGGREGATION, "outer")], a_run("outer"))

    assert capsys.readouterr().out == "outer\n"


def test_a_terminal_is_shown_nothing_that_it_would_obey(capsys: Capture) -> None:
    message = "a\x1b[2J\x1b]0;mine\x07\r\x9b31m\u202eb\tc"
    streamed(pieces(AGGREGATION, message), a_run(message))

    assert capsys.readouterr().out == "a31mb\tc\n"


def test_an_escape_sequence_in_two_pieces_loses_its_force(capsys: Capture) -> None:
    streamed(pieces(AGGREGATION, "a\x1b", "[2Jb"), a_run("a\x1b[2Jb"))

    assert capsys.readouterr().out == "ab\n"


def test_drafts_follow_the_answer_when_they_are_asked_for(capsys: Capture) -> None:
    streamed(pieces(AGGREGATION, "Yes."), a_run("Yes."), drafts=True)

    assert capsys.readouterr().out == "Yes.\n\n# Draft 1.1: lab/p\n\nA draft.\n\n"


@pytest.mark.parametrize("answer", ["It is 42.", "It is 42.\n", "It is 42.\n\n\n"])
def test_a_pipe_gets_the_answer_with_one_newline(answer: str, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    PlainWriter(drafts=False).finish(a_run(answer))

    assert capsysbinary.readouterr() == (b"It is 42.\n", b"")


def test_a_pipe_gets_all_of_the_answer_that_can_be_seen(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    PlainWriter(drafts=False).finish(a_run("  \x1b[1mé❤\ufe0f\u200b [a](https://evil.example) \r\n"))

    assert capsysbinary.readouterr().out == "  é❤\ufe0f [a](https://evil.example) \n".encode()


def test_an_emoji_in_pieces_stays_whole(capsys: Capture) -> None:
    family = "\U0001f468\u200d\U0001f469\u200d\U0001f467"
    streamed(pieces(AGGREGATION, *family, " 1", "\ufe0f", "\u20e3", "\u200b."), a_run(f"{family} 1\ufe0f\u20e3\u200b."))

    assert capsys.readouterr().out == f"{family} 1\ufe0f\u20e3.\n"


def test_a_pipe_gets_nothing_of_a_run_without_an_answer(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    PlainWriter(drafts=True).finish(a_run(None))

    assert capsysbinary.readouterr() == (b"", b"")


def test_json_shows_a_failed_run_too(capsys: Capture) -> None:
    JsonWriter(drafts=False).finish(a_run(None))

    facts = json.loads(capsys.readouterr().out)
    assert (facts["status"], facts["answer"], "drafts" in facts) == ("failed", None, False)


def test_json_holds_long_drafts_in_full(capsys: Capture) -> None:
    JsonWriter(drafts=True).finish(a_run("Yes.", draft="x" * 100_000))

    (draft,) = json.loads(capsys.readouterr().out)["drafts"]
    assert len(draft["text"]) == 100_000


LOST = CallRecord(ChatCall("1.2", PROPOSER, 1, 2, "lab/q", ()), Failure(Reason.RATE_LIMITED), 1.0)
MISSING = "moa-mcp: Partial: 1 draft is missing, {} slots answered. Missing: slot 2 (lab/q): rate limited.\n"


def order_of(write: Callable[[], None]) -> str:
    """What a terminal shows of stdout and stderr, in the order in which it comes."""
    raw = io.BytesIO()
    shown = io.TextIOWrapper(raw, encoding="utf-8", write_through=True)
    with redirect_stdout(shown), redirect_stderr(shown):
        write()
    return raw.getvalue().decode()


def test_what_is_missing_is_written_above_a_streamed_answer() -> None:
    run = a_run("It is 42.").with_records([LOST])
    events = [*(CallEnded(record) for record in run.calls), *pieces(AGGREGATION, "It is ", "42.")]

    shown = order_of(lambda: streamed(events, run))

    assert shown == f"{MISSING.format('1 of 2')}It is 42.\n"


@pytest.mark.parametrize("writer", [PlainWriter(drafts=False), StreamingWriter(drafts=False)])
def test_what_a_whole_answer_lacks_is_written_above_it(writer: AnswerWriter) -> None:
    run = replace(a_run("It is 42."), degraded=True, shortfalls=frozenset({Shortfall.FALLBACK}))

    shown = order_of(lambda: writer.finish(run))

    assert shown == "moa-mcp: Degraded: a step of the method failed, and its fallback took its place.\nIt is 42.\n"


AS_SENT = (
    '<a href="https://example.com/x">x</a> ![p](https://e.example/) \x1b[31mred \x9b\u202e\U000e0041 \u2764\ufe0f\r\n.'
)


def test_json_has_the_texts_as_the_models_sent_them_and_nothing_that_a_terminal_would_interpret(
    capsysbinary: pytest.CaptureFixture[bytes],
) -> None:
    JsonWriter(drafts=True).finish(a_run(AS_SENT, AS_SENT))
    written = capsysbinary.readouterr().out.decode()

    found = json.loads(written)
    assert found["answer"] == found["drafts"][0]["text"] == AS_SENT
    assert strip_invisible(written) == written


def test_a_pipe_gets_links_as_they_were_sent_without_control_sequences(
    capsysbinary: pytest.CaptureFixture[bytes],
) -> None:
    PlainWriter(drafts=True).finish(a_run(AS_SENT, AS_SENT))

    shown = '<a href="https://example.com/x">x</a> ![p](https://e.example/) red  \u2764\ufe0f\n.'
    assert capsysbinary.readouterr().out.decode().count(shown) == 2
