"""A loopback upstream whose models take a known time, so that any further time is the client's.

A model such as `m300-agg` takes 300 ms, and always gives the same answer. A model whose name has another form takes
100 ms, and answers in the format that the prompt asks for.
"""

from __future__ import annotations

import itertools
import json
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from functools import cache
from urllib.parse import urlsplit

import anyio
from anyio.abc import SocketStream

from benchmarks.serving import Serving
from tests.upstream import Reply, Request
from tests.upstream.listener import LOOPBACK, listening
from tests.upstream.obliging import fill_forms
from tests.upstream.render import reply_steps
from tests.upstream.steps import json_response

CALL_MS = 100
"""Milliseconds of a call, if the name of the model gives no other time."""

LOCAL_MODELS = ("llama3.2", "qwen3:8b", "gemma3:4b")

ANSWER = "The answer is forty-two, and here is why it must be so. " * 8
PIECES = 4

_TIMED_MODEL = re.compile(rb'"model": ?"(m(\d+)[^"]*)"')


@contextmanager
def started() -> Generator[str]:
    """Run the upstream in another process, and yield its base URL."""
    with subprocess.Popen(
        [sys.executable, "-m", __spec__.name], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        try:
            yield json.loads(server.stdout.readline())["base_url"]
        finally:
            server.stdin.close()
            server.wait(10)


async def time_of(base_url: str, model: str, calls: int = 7) -> float:
    """Median seconds of a call of `model` on an open bare socket: the least time that any client needs."""
    times: list[float] = []
    async with await connected(base_url) as stream:
        for _ in range(calls):
            began = time.perf_counter()
            await exchange(stream, base_url, model, "How long?")
            times.append(time.perf_counter() - began)
    return statistics.median(times)


async def connected(base_url: str) -> SocketStream:
    """Open a bare socket to the upstream."""
    address = urlsplit(base_url)
    return await anyio.connect_tcp(str(address.hostname), address.port or 80)


async def exchange(stream: SocketStream, base_url: str, model: str, prompt: str) -> str:
    """Ask `model` on a socket, and return its whole reply as text, not parsed."""
    body = json.dumps({"model": model, "stream": True, "messages": [{"role": "user", "content": prompt}]}).encode()
    path = urlsplit(base_url).path
    head = f"POST {path}/chat/completions HTTP/1.1\r\nhost: bare\r\ncontent-length: {len(body)}\r\n\r\n"
    await stream.send(head.encode() + body)
    reply = b""
    while not reply.endswith(b"0\r\n\r\n"):
        reply += await stream.receive()
    return reply.decode()


_numbers = itertools.count(1)


def _answer(head: bytes, body: bytes) -> tuple[float, bytes]:
    """The seconds until the answer is due, and the bytes that `tests.upstream.Upstream` would send."""
    if named := _TIMED_MODEL.search(body):
        return int(named[2]) / 1000, _fixed_answer(named[1].decode())
    request = Request.parse(head, body, number=next(_numbers), received_at=0)
    if request.method == "GET":
        return 0, json_response(200, {"object": "list", "data": [{"id": name} for name in LOCAL_MODELS]})
    return CALL_MS / 1000, _render(request, fill_forms(request))


@cache  # rendering it for each call would take as long as a client takes to read it
def _fixed_answer(model: str) -> bytes:
    body = json.dumps({"model": model, "stream": True, "stream_options": {"include_usage": True}}).encode()
    request = Request.parse(b"POST /v1/chat/completions HTTP/1.1", body, number=1, received_at=0)
    return _render(request, Reply(ANSWER, pieces=PIECES, input_tokens=100, output_tokens=120))


def _render(request: Request, reply: Reply) -> bytes:
    return b"".join(step for step in reply_steps(request, reply) if isinstance(step, bytes))


def _serve() -> None:
    with listening(0) as listener:
        base_url = f"http://{LOOPBACK}:{listener.getsockname()[1]}/v1"
        sys.stdout.write(json.dumps({"base_url": base_url}) + "\n")
        sys.stdout.flush()
        Serving(listener, _answer).until_readable(sys.stdin.fileno())


if __name__ == "__main__":
    _serve()
