"""Attackers without a token occupy connections. Is a client with a token served during that time?

`half_open_heads`: each connection requests `/healthz` once, and then begins a second request whose head never ends.
`held_bodies`: each connection announces a body of 4 MiB to `/healthz`, and sends all of it except the last byte.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
from anyio.abc import SocketStream
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client

from benchmarks.attack_forms import write_home
from benchmarks.processes import ServerProcess, footprint, server_process

TOKEN = "bench-0123456789abcdef"
BODY = 4 * 1024 * 1024

SECONDS_TO_COME = 10.0
"""The longest time that the attackers have to connect. The client asks when all are connected, or after this time."""

PATIENCE = 45.0
"""Seconds after which the client gives up."""

LONGEST_TRY = 5.0
BETWEEN_TRIES = 0.2

Attack = Callable[[SocketStream, str], Awaitable[None]]


@dataclass(slots=True)
class Siege:
    """The number of attackers that hold a connection, the number that lost theirs, and whether others still connect."""

    held: int = 0
    cut_off: int = 0
    forming: bool = True
    changed: anyio.Event = field(default_factory=anyio.Event)

    @contextmanager
    def place(self) -> Generator[None]:
        """Count an attacker that holds a connection while the block runs."""
        self.held += 1
        self.changed.set()
        self.changed = anyio.Event()
        try:
            yield
        finally:
            self.held -= 1
            self.cut_off += 1


async def half_open_head(stream: SocketStream, host: str) -> None:
    """Send one request, and begin a second. Raises ConnectionRefusedError: the server refused the first."""
    await stream.send(f"GET /healthz HTTP/1.1\r\nhost: {host}\r\n\r\n".encode())
    reply = b""
    while b"\r\n\r\n" not in reply:
        reply += await stream.receive()
    if not reply.startswith(b"HTTP/1.1 200"):
        raise ConnectionRefusedError(reply[:40])
    await stream.send(f"GET /healthz HTTP/1.1\r\nhost: {host}\r\nx-a: ".encode())


async def held_body(stream: SocketStream, host: str) -> None:
    """Send a large body without its last byte."""
    await stream.send(f"POST /healthz HTTP/1.1\r\nhost: {host}\r\ncontent-length: {BODY}\r\n\r\n".encode())
    part, left = b" " * 65536, BODY - 1
    while left:
        await stream.send(part[:left])
        left -= min(left, len(part))


async def besieged(server: ServerProcess, attack: Attack, attackers: int) -> dict[str, object]:
    """Run one attack; return its cost to the server, and the time until a new client got its answer meanwhile."""
    siege, turns = Siege(), anyio.CapacityLimiter(50)
    figures: dict[str, object] = {"attackers": attackers, "rss_mb_before": footprint(server.pid)["rss_mb"]}

    async def attacker() -> None:
        while siege.forming:
            with suppress(OSError, anyio.BrokenResourceError, anyio.EndOfStream):
                async with turns:
                    stream = await anyio.connect_tcp("127.0.0.1", server.port)
                async with stream:
                    await attack(stream, f"127.0.0.1:{server.port}")
                    with siege.place():
                        async for _ in stream:  # read until the server closes the connection
                            pass
                    return
            await anyio.sleep(BETWEEN_TRIES)

    async with anyio.create_task_group() as tasks:
        for _ in range(attackers):
            tasks.start_soon(attacker)
        with anyio.move_on_after(SECONDS_TO_COME):
            while siege.held < attackers:
                await siege.changed.wait()
        siege.forming = False
        figures |= {"held_when_asked": siege.held, "rss_mb_during": footprint(server.pid)["rss_mb"]}
        figures |= {"ask_served_ms": await served_after(server), "cut_off": siege.cut_off}
        tasks.cancel_scope.cancel()
    return {**figures, "rss_mb_peak": footprint(server.pid)["peak_rss_mb"]}


async def served_after(server: ServerProcess) -> float | None:
    """Milliseconds until a new client with a token gets an answer, retries included; None: no answer in PATIENCE."""
    began = time.perf_counter()
    while time.perf_counter() - began < PATIENCE:
        with suppress(Exception), anyio.move_on_after(LONGEST_TRY):  # any error means: not served yet
            await ask(server)
            return round((time.perf_counter() - began) * 1000, 1)
        await anyio.sleep(BETWEEN_TRIES)
    return None


async def ask(server: ServerProcess) -> None:
    """Connect with the token, ask once, and disconnect. Raises any error on the way."""
    headers = {"authorization": f"Bearer {TOKEN}"}
    async with (
        create_mcp_http_client(headers=headers) as web,
        Client(streamable_http_client(server.url, http_client=web), mode="auto") as client,
    ):
        result = await client.call_tool("moa_ask", {"question": "Why?", "preset": "plain", "fresh": True})
        facts: dict[str, Any] = result.structured_content or {}
        assert facts.get("status") == "completed", result.content


def measure(base_url: str, attack: Attack, attackers: int) -> dict[str, object]:
    """Start a server, attack it, and end it."""
    with _start_server(base_url) as server:
        return anyio.run(_measure, server, attack, attackers)


async def _measure(server: ServerProcess, attack: Attack, attackers: int) -> dict[str, object]:
    await ask(server)  # the first ask imports modules; keep that out of the measurement
    return await besieged(server, attack, attackers)


@contextmanager
def _start_server(base_url: str) -> Generator[ServerProcess]:
    with tempfile.TemporaryDirectory() as folder:
        write_home(Path(folder), base_url)
        with server_process(Path(folder), {"MOA_MCP_TOKENS": f"bench={TOKEN}"}) as server:
            yield server
