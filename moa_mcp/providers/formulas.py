"""Compares formulas with math-verify, in a separate process that is limited in time and memory (`formula_child.py`).

It needs the extra `math`, and a system that can fork a process; without them, no pair is compared.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec

MAX_FORMULA_CHARS = 1_000
PAIR_SECONDS = 2.0
"""Time limit of one pair."""
START_SECONDS = 20.0
"""How long math-verify may take to be loaded."""
MEMORY_BYTES = 256 * 1024 * 1024

MISSING = "formulas are compared only by their form: the extra 'math' is not installed (pip install 'moa-mcp[math]')"
NO_FORK = "formulas are compared only by their form: this system cannot fork a process"

_VERDICTS: dict[str, bool | None] = {"1": True, "0": False}


class FormulasLost(Exception):
    """No formula can be compared here; the message says why."""


def compare_formulas(pairs: Sequence[tuple[str, str]]) -> list[bool | None]:
    """Whether the formulas of each pair are the same; None if that could not be told. Blocks, within the limits above.

    Raises:
        FormulasLost: math-verify is not installed, or the process could not be run.
    """
    if find_spec("math_verify") is None:
        raise FormulasLost(MISSING)
    if not hasattr(os, "fork"):
        raise FormulasLost(NO_FORK)
    short = [place for place, pair in enumerate(pairs) if max(map(len, pair)) <= MAX_FORMULA_CHARS]
    pairs_sent = [pairs[place] for place in short]
    request = {"seconds": PAIR_SECONDS, "memory_bytes": MEMORY_BYTES, "pairs": pairs_sent}
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-m", "moa_mcp.providers.formula_child"],
            input=json.dumps(request),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            encoding="utf-8",
            timeout=START_SECONDS + (PAIR_SECONDS + 0.5) * len(short),
            env={},
            check=True,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise FormulasLost(f"the process that compares formulas broke: {error}") from None
    verdicts = dict(zip(short, map(_VERDICTS.get, done.stdout.split()), strict=False))
    return [verdicts.get(place) for place in range(len(pairs))]
