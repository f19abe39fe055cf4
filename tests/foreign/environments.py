"""Environments for programs of others: each has its exact versions, is kept in a cache folder, and shares nothing."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import venv
from collections.abc import Callable
from pathlib import Path

import platformdirs
import pytest
from filelock import FileLock

UNREACHABLE = (
    "NewConnectionError",
    "NameResolutionError",
    "ConnectTimeoutError",
    "ProxyError",
    "Connection refused",
    "ENOTFOUND",
    "ECONNREFUSED",
)
"""What pip and npm write if there is no registry; all else that fails is a fault."""


def python_with(*pins: str) -> Path:
    """The Python of an environment that has exactly these requirements, made at the first use.

    The test that needs it is skipped, with the reason, if no registry can be reached.
    """
    folder = _made(("python", sys.version, *pins), lambda folder: _install_python(folder, pins))
    return folder / "bin" / "python"


def from_npm(*pins: str) -> Path:
    """The folder with the programs of these npm packages, installed at the first use. Skips as `python_with` does."""
    command = ["npm", "install", "--silent", "--no-save", "--no-audit", "--no-fund", "--prefix"]
    folder = _made(("npm", *pins), lambda folder: _install([*command, str(folder), *pins]))
    return folder / "node_modules" / ".bin"


def _made(contents: tuple[str, ...], make: Callable[[Path], None]) -> Path:
    name = hashlib.sha256("\n".join(contents).encode()).hexdigest()[:16]
    folder = platformdirs.user_cache_path("moa-mcp-foreign", ensure_exists=True) / name
    complete = folder / "complete"
    with FileLock(f"{folder}.lock"):
        if not complete.exists():
            make(folder)
            complete.touch()
    return folder


def _install_python(folder: Path, pins: tuple[str, ...]) -> None:
    venv.create(folder, clear=True, with_pip=True)
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    _install([*pip, "--retries", "1", *pins])


def _install(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode and any(sign in done.stderr for sign in UNREACHABLE):
        pytest.skip(f"no registry can be reached for {' '.join(command)}")
    assert done.returncode == 0, done.stderr
