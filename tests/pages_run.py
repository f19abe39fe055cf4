"""Runs what a page shows: the blocks below `<!-- run -->`, with the files below `<!-- file: … -->`, in order."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.pages import ROOT, name_of

_MARKED = re.compile(
    r"^<!-- (?P<mark>run|prints|file: (?P<file>\S+)) -->\n```(?P<language>\w+)\n(?P<code>.*?)^```$",
    re.DOTALL | re.MULTILINE,
)


@dataclass(frozen=True, slots=True)
class Block:
    """A marked block of a page: its mark (`run`, `prints` or `file: PATH`)."""

    mark: str
    file: str | None
    language: str
    code: str


def marked(text: str) -> list[Block]:
    """The marked blocks of a page, in order."""
    found = _MARKED.finditer(text)
    return [Block(one["mark"], one["file"], one["language"], one["code"]) for one in found]


def sections(page: Path) -> Iterator[tuple[str, str]]:
    """The sections of a page that have something to run, each with its name; a section stands by itself."""
    for part in re.split(r"^(?=## )", page.read_text(encoding="utf-8"), flags=re.MULTILINE):
        if marked(part):
            yield f"{name_of(page)}: {part.splitlines()[0].strip('# ')}", part


def failures(text: str, folder: Path) -> Iterator[str]:
    """What does not run as the section of a page says. `folder` is empty; its folder `home` becomes $MOA_MCP_HOME."""
    (folder / "home").mkdir()
    printed = ""
    for block in marked(text):
        if block.file is not None:
            file = folder / block.file
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(block.code, encoding="utf-8")
        elif block.mark == "run":
            done = _run(block, folder)
            printed = done.stdout
            if done.returncode != 0:
                yield f"{block.code}exit code {done.returncode}: {done.stdout}{done.stderr}"
        elif not matches(block.code, printed):
            yield f"{block.code}but this was printed:\n{printed}"


def matches(shown: str, printed: str) -> bool:
    """Whether `printed` is what a page shows; `…` in that stands for anything, over several lines too."""
    pattern = ".*".join(re.escape(part) for part in shown.strip().split("…"))
    return re.fullmatch(pattern, printed.strip(), re.DOTALL) is not None


def _run(block: Block, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a block as a reader would: with `moa-mcp` and `python` on the PATH, and none of the machine's own keys."""
    programs = folder / "programs"
    if not programs.is_dir():
        programs.mkdir()
        (programs / "python").symlink_to(sys.executable)
        command = programs / "moa-mcp"
        command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m moa_mcp "$@"\n', encoding="utf-8")
        command.chmod(0o755)
    environ = {
        "HOME": str(folder),
        "MOA_MCP_HOME": str(folder / "home"),
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "PYTHONWARNINGS": "error",
    }
    program = {"bash": ["bash", "-euo", "pipefail", "-c"], "python": [sys.executable, "-c"]}[block.language]
    assert shutil.which(program[0])
    return subprocess.run(
        [*program, block.code], cwd=folder, env=environ, capture_output=True, text=True, check=False, timeout=60
    )
