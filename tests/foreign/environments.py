"""Environments for programs of others: each has its exact versions, is kept in a cache folder, and shares nothing."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import venv
from pathlib import Path

import platformdirs
import pytest
from filelock import FileLock

UNREACHABLE = ("NewConnectionError", "NameResolutionError", "ConnectTimeoutError", "ProxyError", "Connection refused")
"""What pip writes if there is no registry; all else that fails is a fault."""


def python_with(*pins: str) -> Path:
    """The Python of an environment that has exactly these requirements, made at the first use.

    The test that needs it is skipped, with the reason, if no registry can be reached.
    """
    name = hashlib.sha256("\n".join((sys.version, *pins)).encode()).hexdigest()[:16]
    folder = platformdirs.user_cache_path("moa-mcp-foreign", ensure_exists=True) / name
    python, complete = folder / "bin" / "python", folder / "complete"
    with FileLock(f"{folder}.lock"):
        if not complete.exists():
            venv.create(folder, clear=True, with_pip=True)
            _install(python, pins)
            complete.touch()
    return python


def _install(python: Path, pins: tuple[str, ...]) -> None:
    command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--retries", "1", *pins]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode and any(sign in done.stderr for sign in UNREACHABLE):
        pytest.skip(f"no registry can be reached to install {' '.join(pins)}")
    assert done.returncode == 0, done.stderr
