"""The README keeps its word: what it tells to run runs, what it shows is valid, what it names exists."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Iterator

import click
import pytest
import yaml

from moa_mcp.cli.group import moa_mcp
from moa_mcp.config.settings import settings_from
from moa_mcp.domain.endpoints import BUILTIN
from moa_mcp.domain.model import Task
from moa_mcp.domain.preset import Preset
from moa_mcp.flows.panel import ask_panel
from moa_mcp.flows.planning.dry_run import dry_run
from moa_mcp.presets.library import PresetLibrary, parse
from tests.cli.fixtures import COMMAND, ROOT, environment, moa, write_home

README = (ROOT / "README.md").read_text(encoding="utf-8")
RUN = '&& .venv/bin/pip install -q . && .venv/bin/moa-mcp ask "'
TEST = "python3 -m venv .venv && .venv/bin/pip install -q -e '.[test]' && .venv/bin/python -m pytest -n auto"


def blocks(language: str) -> list[str]:
    """The fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)


def lines_of(language: str) -> Iterator[str]:
    return (line for block in blocks(language) for line in block.splitlines())


def command_lines() -> list[list[str]]:
    """The words of every `moa-mcp …` that the README tells to run."""
    commands = (shlex.split(line, comments=True) for line in lines_of("bash"))
    found = (words[place:] for words in commands for place, word in enumerate(words) if word == "moa-mcp")
    return [words for words in found if len(words) > 1]


def test_it_can_be_read_in_one_sitting() -> None:
    assert len(README.splitlines()) < 250


def test_the_registry_finds_the_name_of_the_server() -> None:
    assert README.startswith("<!-- mcp-name: io.github.moa-mcp/moa-mcp -->\n")


def test_the_test_command_follows_its_marker() -> None:
    assert f"\n<!-- test-command -->\n```bash\n{TEST}\n```\n" in README


async def test_the_first_line_to_run_answers() -> None:
    home = write_home("http://127.0.0.1:9/v1")
    (home / "config.yaml").write_text("default_preset: demo\n", encoding="utf-8")
    (line,) = (line for line in lines_of("bash") if RUN in line)
    program, *arguments = shlex.split(line.rpartition("&& ")[2])
    done = await moa(*arguments)

    assert program == ".venv/bin/moa-mcp"
    assert (done.returncode, done.stdout[:4]) == (0, b"Demo")


@pytest.mark.parametrize("words", command_lines(), ids=" ".join)
def test_a_command_that_is_named_exists_with_its_flags(words: list[str]) -> None:
    command: click.Command = moa_mcp
    flags = {word for word in words if word.startswith("--")}
    for word in words[1:]:
        if isinstance(command, click.Group) and word in command.list_commands(click.Context(command)):
            found = command.get_command(click.Context(command), word)
            assert found is not None
            command = found

    assert command is not moa_mcp
    assert flags <= {option for parameter in command.params for option in parameter.opts}


def preset_shown() -> Preset:
    (block,) = (block for block in blocks("yaml") if "proposers:" in block)
    preset = parse(block, "three-views.yaml", "three-views")
    assert isinstance(preset, Preset)
    return preset


def test_the_preset_shown_makes_the_number_of_calls_in_the_text() -> None:
    planned = dry_run(ask_panel(Task("Q?"), preset_shown()))

    message = re.search(r"(\d+) × \((\d+) - 1\) \+ 1 = (\d+) calls in (\d+) rounds", README)
    assert message is not None
    slots, layers, calls, rounds = map(int, message.groups())
    assert (len(preset_shown().slots), preset_shown().layers) == (slots, layers)
    assert (planned.calls, planned.rounds) == (calls, rounds)


def test_the_configuration_shown_is_valid() -> None:
    (block,) = (block for block in blocks("yaml") if "default_preset:" in block)

    assert "lab" in settings_from(block).endpoints


def test_every_yaml_block_is_tested_here() -> None:
    assert len([yaml.safe_load(block) for block in blocks("yaml")]) == 2


def test_every_provider_that_is_built_in_is_named() -> None:
    (sentence,) = re.findall(r"The providers ([^.]*?) are built in", README)
    named = set(re.split(r",\s+| and |\s+and\s+", sentence.replace("\n", " ")))

    assert named == set(BUILTIN) - {"demo"}


def preset_table() -> list[tuple[str, str]]:
    """Each preset of the table, with the calls that stand in its row."""
    rows = re.findall(r"^\| (`[a-z0-9`, -]+`) \| .* \| ([\d, ]+) \|$", README, re.MULTILINE)
    return [
        pair for names, calls in rows for pair in zip(re.findall(r"[a-z0-9-]+", names), calls.split(", "), strict=True)
    ]


def test_the_presets_that_are_named_are_those_that_are_packaged() -> None:
    named = set(re.findall(r"--preset ([a-z-]+)", README)) - {"three-views"}

    assert sorted(name for name, _ in preset_table()) == PresetLibrary(None).names()
    assert named <= set(PresetLibrary(None).names())


async def test_the_calls_of_each_preset_are_those_that_it_makes() -> None:
    listed = (line.replace(" *", "").split() for line in (await moa("presets")).stdout.decode().splitlines()[1:])

    assert dict(preset_table()) == {name: calls for name, _, _, _, calls, *_ in listed}


def test_the_python_shown_runs() -> None:
    (block,) = blocks("python")
    program = f"{block}\nimport anyio\nanyio.run(main)\n"
    done = subprocess.run([COMMAND[0], "-c", program], capture_output=True, text=True, env=environment(), check=False)

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("Demo answer")
