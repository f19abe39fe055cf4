"""CPU time per streamed event: moa-mcp beside bare aiohttp and, if it is installed, the `openai` SDK.

Each client reads the same streams at the same time: 20 streams of 400 events, one event each 2 ms, from a loopback
server in another process. Bare aiohttp splits the lines, parses their JSON and collects the text; moa-mcp also checks,
cleans and limits it. The figures are medians in microseconds of CPU time of the client's process. In each round every
client is measured once, in its own process, so that other work of the machine affects all of them equally.
`times_aiohttp` is the median of the ratios of the rounds.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine, Generator
from contextlib import contextmanager, suppress
from functools import partial
from importlib.util import find_spec
from typing import Any

import anyio
from anyio.abc import SocketAttribute, SocketStream

from tests.upstream.request import messages_in

EVENTS = 400
STREAMS = 20
SECONDS_PER_EVENT = 0.002
ROUNDS = 5

TEXT = "".join(f"word{number} " for number in range(EVENTS))
_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"

Client = Callable[[str], Coroutine[Any, Any, Callable[[], Coroutine[Any, Any, str]]]]
"""Takes a base URL and returns a function that reads one stream and returns its text."""


def _chunk(value: object) -> bytes:
    data = f"data: {value if isinstance(value, str) else json.dumps(value)}\n\n".encode()
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


def _choice(delta: dict[str, str], finish_reason: str | None = None) -> dict[str, object]:
    return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}


def _events() -> Generator[bytes]:
    common = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1_700_000_000, "model": "owl"}
    for number in range(EVENTS):
        yield _chunk({**common, "choices": [_choice({"content": f"word{number} "})]})
    usage = {"prompt_tokens": 9, "completion_tokens": EVENTS, "total_tokens": EVENTS + 9}
    yield _chunk({**common, "choices": [_choice({}, "stop")]})
    yield _chunk({**common, "choices": [], "usage": usage}) + _chunk("[DONE]") + b"0\r\n\r\n"


async def serve() -> None:
    """Answer every request with the same stream, until the standard input is closed."""
    events = list(_events())

    async def answer(client: SocketStream) -> None:
        received = bytearray()
        async with client:
            with suppress(anyio.BrokenResourceError):
                async for data in client:
                    received += data
                    for _ in messages_in(received):
                        for event in (_HEAD, *events):
                            await client.send(event)
                            await anyio.sleep(SECONDS_PER_EVENT)

    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener, anyio.create_task_group() as group:
        group.start_soon(listener.serve, answer)
        sys.stdout.write(f"http://127.0.0.1:{listener.extra(SocketAttribute.local_port)}/v1\n")
        sys.stdout.flush()
        await anyio.wait_readable(sys.stdin)
        group.cancel_scope.cancel()


async def moa(base_url: str) -> Callable[[], Coroutine[Any, Any, str]]:
    """Read streams as a run does, through the registry."""
    from moa_mcp.domain.endpoints import Endpoint
    from moa_mcp.domain.model import ChatCall, Draft, Message
    from moa_mcp.providers.base import ignore_text
    from moa_mcp.providers.registry import Registry

    registry = Registry({"lab": Endpoint("lab", base_url, local=True, max_concurrency=STREAMS)}, {})
    call = ChatCall("1.1", "proposer", 1, 1, "lab/owl", (Message("user", "Count."),))

    async def read() -> str:
        result = await registry.complete(call, ignore_text)
        assert isinstance(result, Draft)
        return result.text

    return read


async def bare_aiohttp(base_url: str) -> Callable[[], Coroutine[Any, Any, str]]:
    """Read streams with aiohttp alone."""
    import aiohttp

    session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
    body = {"model": "owl", "stream": True, "messages": [{"role": "user", "content": "Count."}]}

    async def read() -> str:
        texts: list[str] = []
        async with session.post(f"{base_url}/chat/completions", json=body) as response:
            async for line in response.content:
                data = line.removeprefix(b"data: ").strip()
                if data and data != b"[DONE]" and (choices := json.loads(data)["choices"]):
                    texts.append(choices[0]["delta"].get("content") or "")
        return "".join(texts)

    return read


async def openai_sdk(base_url: str) -> Callable[[], Coroutine[Any, Any, str]]:
    """Read streams with the openai SDK."""
    from openai import AsyncOpenAI

    client = AsyncOpenAI(base_url=base_url, api_key="none", max_retries=0)

    async def read() -> str:
        stream = await client.chat.completions.create(
            model="owl", messages=[{"role": "user", "content": "Count."}], stream=True
        )
        return "".join([chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices])

    return read


CLIENTS: dict[str, Client] = {"moa": moa, "aiohttp": bare_aiohttp, "openai_sdk": openai_sdk}


async def measure(client: Client, base_url: str) -> float:
    """Microseconds of CPU time per event."""
    read = await client(base_url)
    assert (await read()).strip() == TEXT.strip()  # also opens what is opened once
    began = time.process_time()
    async with anyio.create_task_group() as group:
        for _ in range(STREAMS):
            group.start_soon(read)
    return (time.process_time() - began) / (STREAMS * EVENTS) * 1e6


@contextmanager
def _server() -> Generator[str]:
    command = [sys.executable, "-m", "benchmarks.streams", "serve"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        try:
            yield server.stdout.readline().strip()
        finally:
            server.stdin.close()
            server.wait(10)


def _measure_in_process(client: str, base_url: str) -> float:
    # A client that does not close its connections says so on its standard error, which is not a result.
    command = [sys.executable, "-m", "benchmarks.streams", client, base_url]
    return float(subprocess.check_output(command, stderr=subprocess.DEVNULL))


def main() -> None:
    """Measure all clients in turn, and print the medians."""
    names = [name for name in CLIENTS if name != "openai_sdk" or find_spec("openai")]
    with _server() as base_url:
        rounds = [{name: _measure_in_process(name, base_url) for name in names} for _ in range(ROUNDS)]
    found: dict[str, float | str] = {
        f"{name}_us_per_event": round(statistics.median(one[name] for one in rounds), 1) for name in names
    }
    found["times_aiohttp"] = round(statistics.median(one["moa"] / one["aiohttp"] for one in rounds), 2)
    if "openai_sdk" not in names:
        found["openai_sdk"] = "not installed: pip install openai"
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["serve"]:
            anyio.run(serve)
        case [name, url]:
            sys.stdout.write(str(anyio.run(partial(measure, CLIENTS[name], url))))
        case _:
            main()
