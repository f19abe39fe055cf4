"""What tools from npm say of the server: the conformance suite, the MCP Inspector, the TypeScript SDK's client."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

pytestmark = pytest.mark.foreign

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def outside() -> Mapping[str, str]:
    """The environment of the test session, with its proxies and its cache for npm."""
    return {**os.environ, "PYTHON": sys.executable}


@pytest.mark.skipif(not shutil.which("npm"), reason="there is no npm")
@pytest.mark.parametrize("step", ["suite", "inspector", "collecting"])
def test_the_tools_of_others_find_no_fault(step: str, outside: Mapping[str, str]) -> None:
    done = subprocess.run(
        ["scripts/conformance", step], cwd=ROOT, env=outside, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stdout + done.stderr
