"""Servers to test transports on: a process of its own on pipes, and one in this process on a port."""

from __future__ import annotations

import itertools
import json
import os
import signal
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
from anyio.abc import Process
from anyio.streams.buffered import BufferedByteReceiveStream
from mcp import Client
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client

import moa_mcp
from moa_mcp.api import open_service
from moa_mcp.server.transports.http.options import HttpLimits, HttpOptions
from moa_mcp.server.transports.http.serve import HttpTransport
from moa_mcp.server.transports.lifecycle import Lifetime
from moa_mcp.service.service import Service
from tests.processes import PATIENCE_SECONDS
from tests.upstream import Reply, Request, Upstream

ROOT = Path(moa_mcp.__file__).parents[1]
COMMAND = [sys.executable, "-m", "moa_mcp", "serve"]

PRESET = "{proposers: [{model: lab/p, samples: 3}], layers: 2, aggregator: lab/agg}"
ENVELOPE = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}
HANDSHAKE: dict[str, Any] = {
    "protocolVersion": "2025-11-25",
    "capabilities": {},
    "clientInfo": {"name": "test", "version": "1"},
}
ASK: dict[str, Any] = {"name": "moa_ask", "arguments": {"question": "Why?", "preset": "lab", "fresh": True}}


async def held(request: Request) -> Reply:
    """A model that never answers."""
    await anyio.sleep_forever()
    raise AssertionError("unreachable")


def write_home(home: Path, upstream: Upstream | None = None) -> dict[str, str]:
    """The environment of a server whose models are all at `upstream`, or of one that has only the demo."""
    if upstream:
        (home / "presets").mkdir(parents=True, exist_ok=True)
        (home / "presets" / "lab.yaml").write_text(PRESET, encoding="utf-8")
        provider = {"base_url": upstream.base_url, "api_key_env": "LAB_KEY"}
        config = {"default_preset": "lab", "providers": {"lab": provider}}
        (home / "config.yaml").write_text(json.dumps(config), encoding="utf-8")
    return {"MOA_MCP_HOME": str(home), "LAB_KEY": "sk-canary"}


def line_of(**message: Any) -> bytes:
    """A line of JSON-RPC."""
    return json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n"


class Talk:
    """A server on pipes, and what is said to it."""

    def __init__(self, process: Process) -> None:
        assert process.stdin
        assert process.stdout
        self.process = process
        self.stdin = process.stdin
        self.lines = BufferedByteReceiveStream(process.stdout)
        self.numbers = itertools.count(1)

    async def say(self, line: bytes) -> None:
        await self.stdin.send(line)

    async def hear(self) -> dict[str, Any]:
        """The next message that is no notice."""
        while True:
            message = json.loads(await self.lines.receive_until(b"\n", 10_000_000))
            assert message["jsonrpc"] == "2.0"
            if "method" not in message:
                return dict(message)

    async def ask(self, request_id: int | str, method: str, **params: Any) -> dict[str, Any]:
        """Send a request of 2026-07-28, and return the next answer."""
        await self.say(line_of(id=request_id, method=method, params={"_meta": ENVELOPE, **params}))
        return await self.hear()

    async def read(self, uri: str) -> str:
        """What a resource reads as."""
        # An id of its own each time: that of the last may be held for a moment after its answer is out.
        answer = await self.ask(f"read {next(self.numbers)}", "resources/read", uri=uri)
        return str(answer["result"]["contents"][0]["text"])

    async def shake_hands(self) -> None:
        await self.say(line_of(id="hello", method="initialize", params=HANDSHAKE))
        await self.hear()
        await self.say(line_of(method="notifications/initialized"))

    async def end(self, end: signal.Signals | None) -> None:
        """Bring the server to its end, by a signal or by leaving; wait for it without reading what it still says."""
        if end is None:
            await self.stdin.aclose()
        else:
            self.process.send_signal(end)
        await self.process.wait()


@asynccontextmanager
async def on_pipes(home: Path, upstream: Upstream | None = None, *arguments: str) -> AsyncGenerator[Talk]:
    """A server as a process of its own, which is killed if it has not ended with the block."""
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **write_home(home, upstream)}
    with anyio.fail_after(PATIENCE_SECONDS):
        process = await anyio.open_process([*COMMAND, *arguments], env=env, cwd=ROOT)
        try:
            yield Talk(process)
        finally:
            if process.returncode is None:
                process.kill()
            with anyio.CancelScope(shield=True):
                await process.aclose()


@dataclass(frozen=True, slots=True)
class Port:
    """A server on a port of this process."""

    service: Service
    address: str

    @property
    def port(self) -> int:
        return int(self.address.rpartition(":")[2])


@asynccontextmanager
async def on_a_port(
    home: Path, upstream: Upstream | None = None, limits: HttpLimits | None = None, **options: Any
) -> AsyncGenerator[Port]:
    """A server in this process, which is brought to its end with the block."""
    lines: list[str] = []
    failure: Exception | None = None
    with anyio.fail_after(PATIENCE_SECONDS):
        async with open_service(write_home(home, upstream)) as service, anyio.create_task_group() as tasks:
            transport = HttpTransport(HttpOptions(port=0, **options), lines.append, limits)
            await tasks.start(transport, service, Lifetime(lambda: None))
            address = lines[0].partition(" at ")[2].split()[0].rpartition("/")[0]
            try:
                yield Port(service, address)
            except Exception as error:  # raised again below: leaving the group, it would come out wrapped
                failure = error
            tasks.cancel_scope.cancel()
    if failure is not None:
        raise failure


@asynccontextmanager
async def a_client(port: Port, face: str, mode: str, token: str = "") -> AsyncGenerator[Client]:
    """A client of the server on that port, at /mcp or at /sse."""
    headers = {"authorization": f"Bearer {token}"} if token else {}
    async with create_mcp_http_client(headers=headers) as web:
        if face == "sse":
            streams = sse_client(f"{port.address}/sse", headers=headers)
        else:
            streams = streamable_http_client(f"{port.address}/mcp", http_client=web)
        async with Client(streams, mode=mode) as client:
            yield client
