"""What no file of the repository may hold: locks, package registries, paths of somebody's machine, keys."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# A schema of others, which describes registries.
VENDORED = {"tests/data/server.schema.2025-12-11.json"}

LOCK = re.compile(r"(^|/)([^/]*\.lock|[^/]*-lock\.(json|ya?ml)|npm-shrinkwrap\.json|requirements[^/]*\.txt)$")

# They name things that differ from machine to machine, or that only their owner may know.
PRIVATE = {
    "a registry": re.compile(r"index[-_]url|find[-_]links|pypi\.org/simple|pythonhosted\.org|registry\.npmjs\.org"),
    "a path of one machine": re.compile(r"(?<![\w.~$}/-])/(?:home|root|tmp|Users|private|mnt)/\w"),
    "a key": re.compile(r"\bsk-(?:\w+-)*\w{32,}|\bgh[pousr]_\w{30,}|\bAIza[\w-]{30,}|-BEGIN [A-Z ]*PRIVATE KEY-"),
}


@pytest.fixture(scope="session")
def files() -> list[str]:
    """The files that are tracked, or would be if they were added now."""
    ask = ["git", "-c", "safe.directory=*", "ls-files", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(ask, capture_output=True, text=True, check=True, cwd=ROOT).stdout
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this is no git checkout")
    return [name for name in listed.splitlines() if (ROOT / name).is_file()]


def private(text: str) -> Iterator[str]:
    """What `text` should not hold, line by line."""
    for number, line in enumerate(text.splitlines(), 1):
        for what, pattern in PRIVATE.items():
            if pattern.search(line):
                yield f"{number}: {what}: {line.strip()[:80]}"


def test_no_lock_file_is_tracked(files: list[str]) -> None:
    assert [name for name in files if LOCK.search(name)] == []


def test_no_file_names_a_registry_a_machine_or_a_key(files: list[str]) -> None:
    texts = {name: (ROOT / name).read_text(encoding="utf-8", errors="replace") for name in files}
    found = [f"{name}:{line}" for name in sorted(texts.keys() - VENDORED) for line in private(texts[name])]

    assert "pyproject.toml" in texts
    assert not found, "\n".join(found)


@pytest.mark.parametrize("name", ["uv.lock", "a/poetry.lock", "package-lock.json", "requirements-dev.txt"])
def test_a_lock_file_is_known_by_its_name(name: str) -> None:
    assert LOCK.search(name)


@pytest.mark.parametrize("name", ["moa_mcp/clock.py", "tests/test_lock.py", "docs/requirements.md"])
def test_other_files_are_no_locks(name: str) -> None:
    assert not LOCK.search(name)


@pytest.mark.parametrize(
    "pieces",
    [
        ("extra-index-", "url = somewhere"),
        ("https://pypi.", "org/simple/"),
        ("cd /ho", "me/someone/moa"),
        ("open('/tm", "p/run.db')"),
        ("key: s", "k-or-v1-", "0123456789abcdef" * 2),
        ("-----BEGIN OPENSSH ", "PRIVATE KEY-----"),
    ],
)
def test_what_is_private_is_found(pieces: tuple[str, ...]) -> None:
    assert len(list(private("".join(pieces)))) == 1  # in pieces, or this file would be found as well


@pytest.mark.parametrize("text", ["~/.config/moa", "$HOME/tmp/x", "GET /v1/home/", "sk-...", "https://pypi.org/p/x"])
def test_what_only_looks_private_is_let_pass(text: str) -> None:
    assert list(private(text)) == []
