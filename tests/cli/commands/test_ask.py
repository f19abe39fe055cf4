"""`moa-mcp ask` as a process: what a pipe gets, what a terminal shows, what goes wrong and how it ends."""

from __future__ import annotations

import json
import signal
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager

import anyio
import pytest
from anyio.abc import Process

from tests.cli.fixtures import COMMAND, environment, moa, write_home
from tests.cli.view.terminal import Terminal, plain
from tests.upstream.faults import Fault
from tests.upstream.reply import Reply
from tests.upstream.scripts import Script, by_model
from tests.upstream.upstream import Upstream

ANSWER = "The answer is 42, whatever the question was."
SCRIPT = by_model({"chief": Reply(ANSWER)}, otherwise=Reply("A draft."))


@pytest.fixture(autouse=True)
def an_interrupt_arrives() -> Iterator[None]:
    """A shell lets what it runs in the background ignore SIGINT, and with the tests all that they start."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@asynccontextmanager
async def lab(script: Script = SCRIPT) -> AsyncGenerator[Upstream]:
    """The upstream, configured as the provider of the default preset `panel`."""
    async with Upstream(script) as upstream:
        write_home(upstream.base_url)
        yield upstream


@asynccontextmanager
async def on_terminals(out: Terminal, err: Terminal, *arguments: str, **more: str) -> AsyncGenerator[Process]:
    """Run `moa-mcp ask` with its stdout and stderr on terminals, which may be one and the same."""
    environ = environment(TERM="xterm-256color", **more)
    with anyio.fail_after(30):
        async with await anyio.open_process(
            [*COMMAND, "ask", *arguments], stdin=err.side, stdout=out.side, stderr=err.side, env=environ
        ) as process:
            for terminal in {out, err}:
                terminal.leave()
            yield process


def assert_only_the_price_is_noted(stderr: bytes) -> None:
    """The models of the lab have no known price, and every run says so."""
    (line,) = stderr.decode().splitlines()
    assert line.startswith("moa-mcp: No price is known for lab/")


async def test_three_layers_of_six_are_thirteen_calls_and_the_answer_alone_in_a_pipe() -> None:
    async with lab() as upstream:
        done = await moa("ask", "What is the answer?")

    assert (done.returncode, done.stdout) == (0, f"{ANSWER}\n".encode())
    assert_only_the_price_is_noted(done.stderr)
    assert len(upstream.requests) == 13


async def test_a_partial_answer_is_printed_below_what_it_lacks_and_strict_exits_with_3() -> None:
    async with lab(by_model({"chief": Reply(ANSWER), "p3": Fault.status(404)}, otherwise=Reply("A draft."))):
        lenient = await moa("ask", "What is the answer?", "--fresh")
        strict = await moa("ask", "What is the answer?", "--fresh", "--strict")
        refused = await moa("ask", "What is the answer?", "--fresh", "--on-partial", "refuse")

    assert [done.returncode for done in (lenient, strict, refused)] == [0, 3, 1]
    assert strict.stdout == f"{ANSWER}\n".encode()
    assert "Partial: 1 draft is missing, 5 of 6 slots answered. Missing: slot 3" in strict.stderr.decode()
    assert (refused.stdout, b"slot 3 (lab/p3)" in refused.stderr) == (b"", True)


async def test_strict_exits_with_0_if_nothing_lacks() -> None:
    async with lab():
        done = await moa("ask", "What is the answer?", "--strict")

    assert done.returncode == 0


async def test_the_question_may_come_from_stdin_and_the_background_from_a_file() -> None:
    async with lab() as upstream:
        done = await moa("ask", "--context", str(__file__), stdin="What does this test tést?".encode())

    question = upstream.requests[0].question
    assert done.returncode == 0
    assert "What does this test tést?" in question
    assert "test_ask.py" in question


async def test_json_is_the_structured_result_and_nothing_else() -> None:
    async with lab():
        done = await moa("ask", "--json", "--drafts", "What is the answer?")

    facts = json.loads(done.stdout)
    assert (facts["status"], facts["answer"], facts["calls_made"]) == ("completed", ANSWER, 13)
    assert len(facts["drafts"]) == 12
    assert_only_the_price_is_noted(done.stderr)


async def test_the_same_question_again_is_answered_from_the_store_unless_a_fresh_answer_is_wanted() -> None:
    async with lab() as upstream:
        ends = [await moa("ask", *fresh, "What is the answer?") for fresh in ((), (), ("--fresh",))]

    assert [done.stdout for done in ends] == [f"{ANSWER}\n".encode()] * 3
    assert [b"stored answer" in done.stderr for done in ends] == [False, True, False]
    assert len(upstream.requests) == 26


async def test_a_terminal_that_cannot_show_all_characters_is_still_answered() -> None:
    out, err = Terminal(), Terminal()
    script = by_model({"chief": Reply("42 🙂")}, otherwise=Reply("A draft."))
    async with lab(script), on_terminals(out, err, "How big?", PYTHONIOENCODING="latin-1"):
        answer, _ = await out.rest(), await err.rest()

    assert answer == "42 ?\n"


async def test_a_dry_run_without_the_keys_shows_the_plan_and_what_is_missing() -> None:
    plan = await moa("ask", "--preset", "frontier", "--dry-run", "What is the answer?")

    assert plan.returncode == 0
    assert b"OPENROUTER_API_KEY, which is not set" in plan.stderr
    assert b"Nothing was sent." in plan.stdout


async def test_a_dry_run_says_when_a_limit_may_end_the_run_early() -> None:
    config = write_home("http://127.0.0.1:9/v1") / "config.yaml"
    config.write_text(f"{config.read_text(encoding='utf-8')}limits: {{max_calls: 13}}\n", encoding="utf-8")
    plan = await moa("ask", "--dry-run", "What is the answer?")

    assert "a run may come to 16 calls, and the limit is 13" in plan.stderr.decode()


async def test_a_dry_run_shows_the_plan_and_sends_nothing() -> None:
    async with lab() as upstream:
        plan = await moa("ask", "--dry-run", "What is the answer?")
        facts = json.loads((await moa("ask", "--dry-run", "--json", "What is the answer?")).stdout)

    assert "3 layers · 13 calls in 3 rounds" in plan.stdout.decode()
    assert "price unknown, so no limit in dollars holds" in plan.stdout.decode()
    assert "limits: 40 calls, 2,000,000 tokens, " in plan.stdout.decode()
    assert (facts["calls"], facts["serial_rounds"], facts["estimated_cost_usd"]) == (13, 3, None)
    assert upstream.requests == []


async def test_a_left_out_proposer_is_named_on_stderr() -> None:
    script = by_model({"chief": Reply(ANSWER), "p3": Fault.status(401)}, otherwise=Reply("A draft."))
    async with lab(script):
        done = await moa("ask", "What is the answer?")

    assert (done.returncode, done.stdout) == (0, f"{ANSWER}\n".encode())
    assert "moa-mcp: proposer 1.3 (lab/p3) left out: " in done.stderr.decode()
    assert b"lab-secret" not in done.stderr


async def test_the_most_talkative_log_goes_to_stderr_and_holds_no_key() -> None:
    async with lab() as upstream:
        done = await moa("ask", "--log-level", "debug", "What is the answer?")

    assert done.stdout == f"{ANSWER}\n".encode()
    assert b"DEBUG " in done.stderr
    assert upstream.requests[0].headers["authorization"] == "Bearer lab-secret"
    assert b"lab-secret" not in done.stderr


async def test_a_run_without_an_answer_is_exit_code_1_and_names_the_causes() -> None:
    async with lab(lambda _: Fault.status(401)):
        done = await moa("ask", "What is the answer?")

    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr.decode().count("(lab/p") == 6
    assert b"Traceback" not in done.stderr


async def test_a_failed_run_is_whole_in_json_and_still_exit_code_1() -> None:
    async with lab(lambda _: Fault.status(401)):
        done = await moa("ask", "--json", "What is the answer?")

    facts = json.loads(done.stdout)
    assert (done.returncode, facts["status"], facts["answer"]) == (1, "failed", None)


async def test_on_terminals_the_run_is_watched_on_stderr_and_answered_on_stdout() -> None:
    out, err = Terminal(), Terminal()
    async with lab(), on_terminals(out, err, "What is the answer?") as process:
        answer, watched = await out.rest(), await err.rest()
        code = await process.wait()

    assert (code, answer) == (0, f"{ANSWER}\n")
    shown = plain(watched)
    assert "\nlayer 1 6 of 6 drafts\n" in shown
    assert all(f"\n1.{number} lab/p{number} done " in shown for number in range(1, 7))
    assert "panel · completed · 3 layers · 13 calls" in watched


async def test_view_and_answer_on_one_terminal_do_not_write_over_each_other() -> None:
    screen = Terminal()
    async with lab(), on_terminals(screen, screen, "What is the answer?"):
        written = await screen.rest()

    before, found, after = written.partition(ANSWER)
    assert found
    assert "layer 3" in before
    assert before.endswith("\n\x1b[?25h")  # a new line, and the cursor is back
    assert "\x1b[1A" in before  # the view was drawn over itself, which is what must have ended
    assert "\x1b" not in after
    assert "13 calls" in after


async def test_the_answer_is_streamed_and_after_ctrl_c_the_same_question_goes_on_where_it_stopped() -> None:
    answering: list[Reply | Fault] = [Fault.hang(after=3, reply=Reply(ANSWER))]
    script = by_model({"chief": lambda request: answering[-1]}, otherwise=Reply("A draft."))
    out, err = Terminal(), Terminal()
    async with lab(script) as upstream, on_terminals(out, err, "What is the answer?") as process:
        await out.until(ANSWER[:10])
        process.send_signal(signal.SIGINT)
        answer, watched = await out.rest(), await err.rest()
        code = await process.wait()
        await upstream.until(lambda seen: seen.open == 0)
        before = len(upstream.requests)
        stored = await moa("runs", "show", (await moa("runs")).stdout.split()[7].decode())
        answering.append(Reply(ANSWER))
        again = await moa("ask", "What is the answer?")
        asked_again = [request.model for request in upstream.requests[before:]]

    assert code == 130
    assert ANSWER not in answer
    assert watched.splitlines()[-1].startswith("moa-mcp: Interrupted: the calls were stopped. Ask the same within ten")
    assert "Traceback" not in watched
    assert b"dropped by the client before the run was done" in stored.stdout
    assert b"goes on where it stopped" in stored.stdout
    assert (again.stdout.decode().strip(), asked_again) == (ANSWER, ["chief"])


async def test_ctrl_c_before_the_answer_leaves_the_terminal_with_its_cursor() -> None:
    script = by_model({"p6": Fault.hang()}, otherwise=Reply("A draft."))
    screen = Terminal()
    async with lab(script), on_terminals(screen, screen, "What is the answer?") as process:
        await screen.until("5 of 6 drafts")
        process.send_signal(signal.SIGINT)
        written = await screen.rest()
        code = await process.wait()

    assert code == 130
    assert written.rindex("\x1b[?25h") > written.rindex("\x1b[?25l")


async def test_a_fallback_after_half_an_answer_starts_on_a_new_line() -> None:
    broken = Fault.error_event(after=3, reply=Reply(ANSWER, delay_per_piece=0.02))
    script = by_model({"chief": broken, "deputy": Reply("It is 42.")}, otherwise=Reply("A draft."))
    out, err = Terminal(), Terminal()
    async with lab(script), on_terminals(out, err, "What is the answer?"):
        answer, watched = await out.rest(), await err.rest()

    half, _, whole = answer.partition("\n")
    assert ANSWER.startswith(half)
    assert half
    assert whole == "It is 42.\n"
    assert "lab/chief" in watched
    assert "Only what follows counts." in watched


async def test_with_no_key_anywhere_the_demo_answers_and_says_how_to_add_one() -> None:
    home = write_home("http://127.0.0.1:9/v1")
    nobody = ", ".join(f"{name}: {{base_url: 'http://127.0.0.1:9/v1'}}" for name in ("ollama", "lmstudio", "vllm"))
    (home / "config.yaml").write_text(f"providers: {{{nobody}}}\n", encoding="utf-8")
    done = await moa("ask", "What is the answer?")

    assert done.returncode == 0
    assert done.stdout.startswith(b"Demo answer")
    assert b"No model was called" in done.stderr
    assert b"OPENROUTER_API_KEY" in done.stderr


async def test_the_error_for_a_question_without_quotes_asks_for_them() -> None:
    done = await moa("ask", "What", "is", "it?")

    assert (done.returncode, done.stdout) == (2, b"")
    assert b"Put it in quotes." in done.stderr


async def test_a_key_that_is_missing_is_exit_code_2_and_named() -> None:
    home = write_home("http://127.0.0.1:9/v1")
    config = (home / "config.yaml").read_text(encoding="utf-8")
    (home / "config.yaml").write_text(config.replace("LAB_API_KEY", "OTHER_KEY"), encoding="utf-8")
    done = await moa("ask", "What is the answer?")

    assert (done.returncode, done.stdout) == (2, b"")
    assert b"OTHER_KEY" in done.stderr
    assert len(done.stderr.splitlines()) == 1


async def test_a_mistake_in_the_configuration_is_one_line_with_file_line_and_key() -> None:
    home = write_home("http://127.0.0.1:9/v1")
    (home / "config.yaml").write_text("default_preset: panel\nlimit: {}\n", encoding="utf-8")
    done = await moa("ask", "What is the answer?")

    (line,) = done.stderr.decode().splitlines()
    assert done.returncode == 2
    assert line.startswith("moa-mcp: config.yaml, line 2: limit: ")
    assert "limits" in line
