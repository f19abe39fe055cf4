"""The program of a separate process that compares formulas with math-verify: see `formulas.py`.

math-verify evaluates what it parses, so a formula can take any time and memory. Each pair is compared in a fork of its
own, which is limited in both and ended when its time is over. Reads a request as JSON; writes a line per pair: 1 (the
same), 0 (different) or ? (it could not be told).
"""

from __future__ import annotations

import json
import logging
import os
import re
import signal
import sys
import time
from importlib import import_module
from typing import Any

_RELATION = re.compile(r"[<>≤≥]|\\(?:leq?|geq?|lt|gt)\b")
_SAME, _DIFFERENT, _UNKNOWN = 1, 2, 3
"""How a fork exits; any other way means that it was ended."""


def main() -> None:
    """Compare the pairs of the request on stdin, each within its limits."""
    request = json.load(sys.stdin)
    seconds, memory_bytes = request["seconds"], request["memory_bytes"]
    logging.disable()
    math_verify = import_module("math_verify")
    math_verify.parse("$x^2$", parsing_timeout=None)  # loads the grammar once, before the forks
    for one, other in request["pairs"]:
        pid = os.fork()
        if pid == 0:
            os._exit(_compare(math_verify, one, other, seconds, memory_bytes))
        sys.stdout.write({_SAME: "1", _DIFFERENT: "0"}.get(_wait(pid, seconds), "?") + "\n")
        sys.stdout.flush()


def _compare(math_verify: Any, one: str, other: str, seconds: float, memory_bytes: int) -> int:
    """Compare in both directions: in one, math-verify takes `0` for `a + 3z = 0`. A relation and a set need one."""
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CPU, (int(seconds) + 1, int(seconds) + 1))
    try:
        a, b = (math_verify.parse(f"${text}$", parsing_timeout=None) for text in (one, other))
        if not a or not b:
            return _UNKNOWN
        verdicts = (math_verify.verify(*pair, timeout_seconds=None) for pair in ((a, b), (b, a)))
        same = any(verdicts) if bool(_RELATION.search(one)) != bool(_RELATION.search(other)) else all(verdicts)
    except BaseException:
        return _UNKNOWN
    return _SAME if same else _DIFFERENT


def _wait(pid: int, seconds: float) -> int:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return _UNKNOWN


if __name__ == "__main__":
    main()
