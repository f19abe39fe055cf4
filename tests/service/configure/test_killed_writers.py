"""Servers that are killed in the middle of a change to the configuration leave whole files and a free lock."""

from __future__ import annotations

import random
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from moa_mcp.config.settings import LiveSettings, Paths, load_settings
from moa_mcp.presets.library import PresetLibrary
from moa_mcp.providers.registry import Registry
from moa_mcp.service.configure.editor import ChangeRequest, ChangeResult, ConfigEditor
from moa_mcp.service.configure.lock import config_lock
from moa_mcp.service.configure.log import ChangeLogFile
from tests.processes import Child, child
from tests.service.fixtures import write_panel

pytestmark = pytest.mark.slow

KILLS = 20
CHANGE_SECONDS = 0.006
"""About what the writing of a change takes: it is killed somewhere within, or a little after."""

BY_HAND = "store: {keep_days: 7}   # for now\n"


def changes_in(folder: Path, pipe: Connection | None = None) -> ConfigEditor:
    """The changes of a server; each tells `pipe` when it has the lock and begins to write."""
    home = Paths.in_folder(folder)
    settings = LiveSettings(home)

    @contextmanager
    def alone() -> Generator[None]:
        with config_lock(folder, home.presets_folder):
            if pipe:
                pipe.send("begun")
            yield

    return ConfigEditor(home, PresetLibrary(home.presets_folder), settings, Registry(settings().endpoints, {}), alone)


def change_for_ever(folder: Path, first: int, pipe: Connection) -> None:
    changes = changes_in(folder, pipe)
    for version in count(first):
        changes.apply(changes.propose(change_to(version)))
        pipe.send("done")


def made_in(folder: Path, version: int) -> ChangeResult:
    changes = changes_in(folder)
    return changes.apply(changes.propose(change_to(version)))


def change_to(version: int) -> ChangeRequest:
    """A version of the configuration: three files differ from those of the version before."""
    fields = {"title": f"Version {version}"}
    return ChangeRequest(save_preset="own", base="panel", fields=fields, default_preset=default_of(version))


def default_of(version: int) -> str:
    return ("own", "panel", "moa", "light")[version % 4]


@dataclass(frozen=True, slots=True)
class Death:
    """How far a writer came: the changes that it had started to write, and those that it had acknowledged."""

    begun: int
    done: int


def killed(writer: Child, changes: int, seconds: float) -> Death:
    """Kill a writer that has acknowledged so many changes, at most so long after it has started the next one."""
    message = [writer.receive() for _ in range(2 * changes + 1)]
    writer.pipe.poll(seconds)
    writer.process.kill()
    message += writer.rest()
    return Death(message.count("begun"), message.count("done"))


def test_a_writer_killed_at_any_moment_leaves_whole_files_and_the_next_one_can_write(tmp_path: Path) -> None:
    dice, home, version = random.Random(3), Paths.in_folder(tmp_path), 0
    write_panel(tmp_path, "http://127.0.0.1:9/v1", BY_HAND)
    made_in(tmp_path, version)
    for _ in range(KILLS):
        revision = ChangeLogFile(tmp_path).read().revision
        with child(change_for_ever, tmp_path, version + 1) as writer:
            death = killed(writer, dice.randrange(3), dice.uniform(0, CHANGE_SECONDS))

        possible = range(version + death.done, version + death.begun + 1)
        assert PresetLibrary(home.presets_folder).get("own").title in {f"Version {one}" for one in possible}
        assert load_settings(home).default_preset in {default_of(one) for one in possible}
        assert home.config_file.read_text(encoding="utf-8").endswith(BY_HAND)
        assert revision + death.done <= ChangeLogFile(tmp_path).read().revision <= revision + death.begun
        assert len(left_lying(tmp_path)) <= 1

        version = possible[-1] + 1
        assert made_in(tmp_path, version)["applied"]
        assert left_lying(tmp_path) == []


def left_lying(folder: Path) -> list[Path]:
    return list(folder.rglob("*.tmp"))
