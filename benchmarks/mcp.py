"""What moa-mcp's MCP server adds to an ask of the demo: calls per second and latency over stdio, http and sse.

It is compared, in the same execution, with the smallest SDK server whose tool does the same work (asking_server.py).
Prints for 1 and for 50 callers the calls per second, the median milliseconds, and the time of moa-mcp as a multiple of
the bare server's; then the resident megabytes after 1,000 asks and after 1,000 more. Over stdio the 50 callers share
one client.
"""

from __future__ import annotations

import json
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Generator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
from mcp import Client
from mcp.client.sse import sse_client
from mcp.client.stdio import StdioServerParameters

from benchmarks.coldstart import rss_mb

TRANSPORTS = ("stdio", "http", "sse")
CALLERS = (1, 50)
CALLS = 200
WARM_UP = 50
MEMORY_CALLS = 1_000


@dataclass(frozen=True, slots=True)
class Face:
    """A server, the name of its ask tool, and the arguments of the tool besides the question."""

    module: str
    arguments: tuple[str, ...]
    tool: str
    asking: dict[str, Any]

    def command(self, transport: str, port: int) -> list[str]:
        """The command that starts the server."""
        place = [part.format(transport=transport, port=port) for part in self.arguments]
        if transport == "stdio":
            place = place[:1] if place[0] == "serve" else []
        return [sys.executable, "-m", self.module, *place]


FACES = {
    "bare": Face("benchmarks.asking_server", ("{transport}", "{port}"), "ask", {}),
    "moa_mcp": Face(
        "moa_mcp",
        ("serve", "--transport={transport}", "--port={port}", "--requests-per-minute=1000000"),
        "moa_ask",
        {"preset": "demo", "fresh": True},
    ),
}


@contextmanager
def environment() -> Generator[dict[str, str]]:
    """The environment of a server with its own home, which admits all callers at once."""
    with tempfile.TemporaryDirectory() as home:
        Path(home, "config.yaml").write_text("limits: {max_concurrent_runs: 1000}\n", encoding="utf-8")
        yield {"MOA_MCP_HOME": home, "PYTHONPATH": str(Path.cwd())}


@asynccontextmanager
async def connected(face: Face, transport: str, callers: int) -> AsyncGenerator[tuple[list[Client], int | None]]:
    """Yield a client for each caller, and the process id of the server (None over stdio)."""
    with environment() as variables:
        async with AsyncExitStack() as stack:
            if transport == "stdio":
                command, *arguments = face.command(transport, 0)
                server = StdioServerParameters(command=command, args=arguments, env=variables)
                client = await stack.enter_async_context(Client(server))
                yield [client] * callers, None
                return
            port = _free_port()
            pid = stack.enter_context(_serve(face.command(transport, port), variables, port))
            clients = [await stack.enter_async_context(_client(transport, port)) for _ in range(callers)]
            yield clients, pid


def _client(transport: str, port: int) -> Client:
    if transport == "sse":
        return Client(sse_client(f"http://127.0.0.1:{port}/sse"), mode="legacy")
    return Client(f"http://127.0.0.1:{port}/mcp")


@contextmanager
def _serve(command: list[str], variables: dict[str, str], port: int) -> Generator[int]:
    server = subprocess.Popen(command, env=variables, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while not _listens(port):
            assert server.poll() is None, f"{command} ended"
            time.sleep(0.05)
        yield server.pid
    finally:
        server.terminate()
        try:
            server.wait(10)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def _listens(port: int) -> bool:
    with socket.socket() as tried:
        return tried.connect_ex(("127.0.0.1", port)) == 0


def _free_port() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port: int = bound.getsockname()[1]
        return port


async def ask(face: Face, client: Client, number: int) -> float:
    """Ask once, and return the seconds that it took."""
    began = time.perf_counter()
    result = await client.call_tool(face.tool, {"question": f"Which one is it? ({number})", **face.asking})
    run: dict[str, Any] = result.structured_content or {}
    assert run.get("status") == "completed", result.content
    return time.perf_counter() - began


async def measure(face: Face, clients: list[Client], calls: int) -> dict[str, float]:
    """Let all clients ask concurrently, `calls` times in total."""
    seconds: list[float] = []

    async def caller(client: Client, first: int) -> None:
        seconds.extend([await ask(face, client, number) for number in range(first, calls, len(clients))])

    began = time.perf_counter()
    async with anyio.create_task_group() as tasks:
        for first, client in enumerate(clients):
            tasks.start_soon(caller, client, first)
    rate = len(seconds) / (time.perf_counter() - began)
    return {"calls_per_second": round(rate, 1), "median_ms": round(statistics.median(seconds) * 1000, 2)}


async def compared(transport: str, callers: int) -> dict[str, Any]:
    """Measure both servers over one transport, one after the other."""
    found: dict[str, Any] = {}
    for name, face in FACES.items():
        async with connected(face, transport, callers) as (clients, _):
            await measure(face, clients, WARM_UP)
            found[name] = await measure(face, clients, CALLS)
    found["times_bare"] = round(found["bare"]["calls_per_second"] / found["moa_mcp"]["calls_per_second"], 2)
    return found


async def memory() -> dict[str, float]:
    """Resident megabytes of moa-mcp over http, before and after a thousand asks."""
    face = FACES["moa_mcp"]
    async with connected(face, "http", 10) as (clients, pid):
        assert pid is not None
        await measure(face, clients, MEMORY_CALLS)
        before = rss_mb(pid)
        await measure(face, clients, MEMORY_CALLS)
        return {"warm": round(before, 1), f"after_{MEMORY_CALLS}": round(rss_mb(pid), 1)}


async def main() -> None:
    """Measure everything, and print one line of JSON."""
    found: dict[str, Any] = {
        transport: {str(callers): await compared(transport, callers) for callers in CALLERS} for transport in TRANSPORTS
    }
    sys.stdout.write(json.dumps({**found, "rss_mb": await memory()}) + "\n")


if __name__ == "__main__":
    anyio.run(main)
