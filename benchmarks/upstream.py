"""A loopback upstream whose models tell in their names how many milliseconds they take: `m300-agg` takes 300.

So the critical path of a run is known beforehand, and nothing of the client's can hide in it.
"""

from __future__ import annotations

import json
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from urllib.parse import urlsplit

import anyio

from moa_mcp.testing import Reply, Request, Upstream

ANSWER = "The answer is forty-two, and here is why it must be so. " * 8
PIECES = 4


def takes_its_time(request: Request) -> Reply:
    """The same answer from every model, after the time that its name tells."""
    told = re.search(r"m(\d+)", request.model or "")
    delay = int(told.group(1)) / 1000 if told else 0.0
    return Reply(ANSWER, pieces=PIECES, delay=delay, input_tokens=100, output_tokens=120)


@contextmanager
def started() -> Generator[str]:
    """The upstream in a process of its own; yields its base URL."""
    server = subprocess.Popen([sys.executable, "-m", __spec__.name], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert server.stdin is not None
    assert server.stdout is not None
    try:
        yield json.loads(server.stdout.readline())["base_url"]
    finally:
        server.stdin.close()
        server.wait(10)
        server.stdout.close()


async def time_of(base_url: str, model: str, calls: int = 7) -> float:
    """Seconds that a call of `model` takes on a bare socket that is already open: what no client can be below."""
    address = urlsplit(base_url)
    body = json.dumps({"model": model, "stream": True, "messages": [{"role": "user", "content": "How long?"}]}).encode()
    head = f"POST {address.path}/chat/completions HTTP/1.1\r\nhost: bare\r\ncontent-length: {len(body)}\r\n\r\n"
    times: list[float] = []
    async with await anyio.connect_tcp(str(address.hostname), address.port or 80) as socket:
        for _ in range(calls):
            began = time.perf_counter()
            await socket.send(head.encode() + body)
            reply = b""
            while not reply.endswith(b"0\r\n\r\n"):
                reply += await socket.receive()
            times.append(time.perf_counter() - began)
    return statistics.median(times)


async def _serve() -> None:
    async with Upstream(takes_its_time) as upstream:
        sys.stdout.write(json.dumps({"base_url": upstream.base_url}) + "\n")
        sys.stdout.flush()
        await anyio.to_thread.run_sync(sys.stdin.read)


if __name__ == "__main__":
    anyio.run(_serve)
