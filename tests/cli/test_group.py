"""The group of commands: what is run by which words, and how errors end."""

from __future__ import annotations

import importlib.metadata
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest

from moa_mcp.cli.group import moa_mcp, run
from moa_mcp.domain.errors import Busy, InvalidRequest, RunFailed
from tests.cli.fixtures import COMMAND, environment

Capture = pytest.CaptureFixture[str]


def test_help_names_every_command(capsys: Capture) -> None:
    assert run(["--help"]) == 0

    help_text = capsys.readouterr().out
    assert all(f"\n  {name} " in help_text for name in ("serve", "ask", "presets", "doctor"))


@pytest.mark.parametrize(
    "arguments",
    [
        ["asc"],
        ["ask", "--presets", "x"],
        ["presets", "show"],
        ["serve", "--transport", "pigeon"],
        ["--port", "1"],
    ],
)
def test_wrong_usage_is_exit_code_2_and_one_line(arguments: list[str], capsys: Capture) -> None:
    assert run(arguments) == 2

    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("moa-mcp: ")
    assert err.count("\n") == 1
    assert "--help`." in err


def test_a_command_that_there_is_not_brings_the_known_ones_nearest_first(capsys: Capture) -> None:
    assert run(["preset"]) == 2
    assert "There is no command 'preset'. Known, nearest first: presets, " in capsys.readouterr().err


def test_a_question_in_the_place_of_a_command_leads_to_the_one_that_asks(capsys: Capture) -> None:
    assert run(["Why is the sky blue?"]) == 2
    assert "`moa-mcp ask QUESTION`" in capsys.readouterr().err


def test_what_click_says_is_a_sentence(capsys: Capture) -> None:
    run(["serve", "now"])
    run(["ask", "--persist", "x"])

    assert "(now). See" in (err := capsys.readouterr().err)
    assert "'--preset'? See" in err


def test_errors_on_a_terminal_have_no_control_sequences(capsys: Capture) -> None:
    assert run(["ask", "--context", "gone\x1b]0;title\x07.md", "What?"]) == 2
    assert "moa-mcp: gone.md cannot be read" in capsys.readouterr().err


def test_options_alone_are_those_of_serve(capsys: Capture) -> None:
    assert run(["--log-level", "loud"]) == 2

    assert "`moa-mcp serve --help`" in capsys.readouterr().err


def test_a_flag_of_serve_can_be_given_in_the_environment(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    monkeypatch.setenv("MOA_MCP_TRANSPORT", "pigeon")

    assert run([]) == 2
    assert "MOA_MCP_TRANSPORT" in capsys.readouterr().err


def test_every_flag_of_serve_has_a_twin_in_the_environment() -> None:
    serve = moa_mcp.get_command(click.Context(moa_mcp), "serve")

    assert serve is not None
    twins = {option.opts[0]: option.envvar for option in serve.params if isinstance(option, click.Option)}
    assert twins == {flag: f"MOA_MCP_{flag[2:].replace('-', '_').upper()}" for flag in twins}
    assert twins


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (InvalidRequest("The question is empty."), 2, "moa-mcp: The question is empty.\n"),
        (RunFailed("Nobody answered:", ["p1 is down"]), 1, "moa-mcp: Nobody answered:\n- p1 is down\n"),
        (Busy("Come back later."), 1, "moa-mcp: Come back later.\n"),
        (KeyboardInterrupt(), 130, "\nmoa-mcp: Interrupted: the run and its calls were stopped.\n"),
        (ExceptionGroup("", [ExceptionGroup("", [InvalidRequest("Deep.")])]), 2, "moa-mcp: Deep.\n"),
        (
            ZeroDivisionError("secret"),
            1,
            "moa-mcp: An unexpected fault in moa-mcp (ZeroDivisionError); please report it, with",
        ),
    ],
)
def test_each_kind_of_error_has_its_exit_code_and_its_words(
    error: BaseException, code: int, message: str, capsys: Capture
) -> None:
    @click.command()
    def broken() -> None:
        raise error

    assert run([], broken) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(message)
    assert "secret" not in err


def test_a_reader_that_leaves_early_gets_no_traceback() -> None:
    with subprocess.Popen(
        [*COMMAND, "ask", "--preset", "demo", "--json", "What?"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        message = process.stderr.read()

    assert process.returncode == 1
    assert b"Traceback" not in message
    assert b"BrokenPipe" not in message


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no file that is always full")
@pytest.mark.parametrize("arguments", [("presets",), ("ask", "--preset", "demo", "What?"), ("--help",)])
def test_an_output_that_cannot_be_written_is_no_fault_of_ours(arguments: tuple[str, ...]) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [*COMMAND, *arguments], stdout=full, stderr=subprocess.PIPE, env=environment(), check=False
        )

    assert done.returncode == 1
    assert b"The output could not be written: No space left on device." in done.stderr
    assert b"unexpected" not in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("command", ["ask --preset demo What?", "presets", "serve"])
def test_a_stream_may_be_closed_from_the_start(command: str, closed: str) -> None:
    line = f"exec {shlex.join(COMMAND)} {command} {closed}"
    done = subprocess.run(["sh", "-c", line], input=b"", capture_output=True, env=environment(), check=False)

    assert done.returncode == 0
    assert b"unexpected" not in done.stderr


def test_the_version_is_that_of_the_installed_package(capsys: Capture) -> None:
    try:
        version = importlib.metadata.version("moa-mcp")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("moa-mcp is not installed here, so it has no version")

    assert run(["--version"]) == 0
    assert capsys.readouterr().out == f"moa-mcp {version}\n"


@pytest.mark.parametrize(
    ("words", "completed"),
    [
        ("", {"serve", "ask", "presets", "models", "runs", "doctor"}),
        ("a", {"ask"}),
        ("--tr", {"--transport"}),
        ("--ver", {"--version"}),
        ("--transport std", {"stdio"}),
        ("ask --dry", {"--dry-run"}),
        ("presets sh", {"show"}),
    ],
)
def test_a_shell_completes_commands_and_options(words: str, completed: set[str]) -> None:
    line = f"moa-mcp {words}"
    shell = {"_MOA_MCP_COMPLETE": "bash_complete", "COMP_WORDS": line, "COMP_CWORD": str(line.count(" "))}
    done = subprocess.run(COMMAND, capture_output=True, text=True, env={**environment(), **shell}, check=False)

    assert (done.returncode, done.stderr) == (0, "")
    assert {item.partition(",")[2] for item in done.stdout.splitlines()} == completed


def test_help_of_serve_loads_nothing_that_only_runs_need() -> None:
    heavy = ("mcp", "rich", "httpx", "aiohttp", "genai_prices", "pydantic_monty")
    look = (
        "import sys; from moa_mcp.cli import run; run(['serve', '--help']); "
        f"sys.exit(' '.join(name for name in {heavy} if name in sys.modules) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, env=environment(), check=False)

    assert (done.returncode, done.stderr) == (0, "")
