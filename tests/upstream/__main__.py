"""The upstream as a program: `python -m tests.upstream --delay-ms 200 --jitter-ms 100 --pieces 4`.

It writes one line of JSON with its `base_url` and `pid`, and serves until standard input ends. It echoes, unless
`--script MODULE:NAME` names a function that answers instead.
"""

from __future__ import annotations

import argparse
import json
import os
import pkgutil
import random
import signal
import sys
from collections.abc import Sequence
from dataclasses import replace

import anyio
import anyio.to_thread

from tests.upstream.reply import Reply
from tests.upstream.request import Request
from tests.upstream.scripts import Script, echo
from tests.upstream.upstream import Upstream

_MOST_FILES = 65536


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve as the arguments say, until standard input ends."""
    parsed = _parser().parse_args(arguments)
    # There is nothing to tidy up, so an interrupt may end the program on the spot, as SIGTERM does.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    _allow_many_connections()
    anyio.run(_serve, Upstream(_script(parsed), models=parsed.models, port=parsed.port))


def _script(parsed: argparse.Namespace) -> Script:
    if parsed.script:
        found: Script = pkgutil.resolve_name(parsed.script)
        return found
    return slow_echo(parsed.delay_ms, parsed.jitter_ms, parsed.pieces, parsed.seed)


def slow_echo(delay_ms: float, jitter_ms: float, pieces: int, seed: int) -> Script:
    """Echo after `delay_ms` and, drawn from `seed` for each request, up to `jitter_ms` more."""
    draw = random.Random(seed)

    def script(request: Request) -> Reply:
        delay = (delay_ms + draw.uniform(0, jitter_ms)) / 1000
        return replace(echo(request), delay=delay, pieces=pieces)

    return script


async def _serve(upstream: Upstream) -> None:
    async with upstream:
        sys.stdout.write(json.dumps({"base_url": upstream.base_url, "pid": os.getpid()}) + "\n")
        sys.stdout.flush()
        await anyio.to_thread.run_sync(sys.stdin.buffer.read)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.upstream", description="A model provider that echoes.")
    parser.add_argument("--script", help="MODULE:NAME of a function from a request to its answer, in place of the echo")
    parser.add_argument("--delay-ms", type=float, default=0, help="before each answer")
    parser.add_argument("--jitter-ms", type=float, default=0, help="at most this much more, drawn per answer")
    parser.add_argument("--pieces", type=int, default=4, help="deltas per answer")
    parser.add_argument("--seed", type=int, default=0, help="of the jitter")
    parser.add_argument("--models", nargs="+", default=["test-model"], help="listed at /v1/models")
    parser.add_argument("--port", type=int, default=0, help="0: any free one")
    return parser


def _allow_many_connections() -> None:
    """Lift the soft limit on open files, which is often 1024, as far as the system allows."""
    if sys.platform == "win32":
        return
    import resource  # does not exist on Windows

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, _MOST_FILES)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))


if __name__ == "__main__":
    main()
