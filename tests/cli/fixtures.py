"""A person's files for a test, and the command line as a process of its own."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from subprocess import CompletedProcess

import anyio

ROOT = Path(__file__).parents[2]
COMMAND = (sys.executable, "-m", "moa_mcp")

PANEL = """\
title: Three layers of six
proposers: [lab/p1, lab/p2, lab/p3, lab/p4, lab/p5, lab/p6]
layers: 3
aggregator: {model: lab/chief, fallbacks: [lab/deputy]}
"""


def write_home(base_url: str, panel: str = PANEL) -> Path:
    """Write config.yaml with the provider `lab` at `base_url`, and the default preset `panel`."""
    home = Path(os.environ["MOA_MCP_HOME"])
    (home / "presets").mkdir(parents=True)
    (home / "presets" / "panel.yaml").write_text(panel, encoding="utf-8")
    config = f"default_preset: panel\nproviders:\n  lab: {{base_url: {base_url}, api_key_env: LAB_API_KEY}}\n"
    (home / "config.yaml").write_text(config, encoding="utf-8")
    return home


def environment(**more: str) -> dict[str, str]:
    """The environment of the test, with the key of `lab` and the package within reach."""
    return {**os.environ, "PYTHONPATH": str(ROOT), "LAB_API_KEY": "lab-secret", **more}


async def moa(*arguments: str, stdin: bytes = b"") -> CompletedProcess[bytes]:
    """Run `moa-mcp` in pipes to its end."""
    with anyio.fail_after(30):
        return await anyio.run_process([*COMMAND, *arguments], input=stdin, check=False, env=environment())
