"""A call whose client has left costs nothing more: in each mode of HTTP its requests to models are closed."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from tests.server.transports.fixtures import ASK, ENVELOPE, HANDSHAKE, Port, held, on_a_port
from tests.upstream import Upstream

ACCEPT = {"accept": "application/json, text/event-stream", "content-type": "application/json"}
MODERN = {**ACCEPT, "mcp-protocol-version": "2026-07-28", "mcp-method": "tools/call", "mcp-name": "moa_ask"}
TOLD = {"progressToken": 1}


@dataclass(frozen=True, slots=True)
class Mode:
    """A way in which the server can be asked over HTTP."""

    options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    headers: Mapping[str, str] = field(default_factory=lambda: ACCEPT)
    meta: Mapping[str, Any] = field(default_factory=dict[str, Any])
    session: bool = False


MODES = {
    "modern stream": Mode(headers=MODERN, meta={**ENVELOPE, **TOLD}),
    "modern stream that was not begun": Mode(headers=MODERN, meta=ENVELOPE),
    "modern JSON": Mode({"json_response": True}, MODERN, {**ENVELOPE, **TOLD}),
    "session": Mode(session=True, meta=TOLD),
    "session with JSON": Mode({"json_response": True}, session=True, meta=TOLD),
    "stateless": Mode({"stateless": True}, meta=TOLD),
    "stateless with JSON": Mode({"stateless": True, "json_response": True}, meta=TOLD),
}


@dataclass(frozen=True, slots=True)
class End:
    """What is left when no call goes on: the status of the run, all requests so far, and how the server feels."""

    run: str | None
    requests: int
    health: int


DROPPED = End("interrupted", 3, 200)
"""The run may go on, no call came after those that were open, and the server serves on."""

CANCELLED = replace(DROPPED, run="cancelled")
"""The same of a run that was cancelled by its id: it does not go on."""


@dataclass(frozen=True, slots=True)
class Line:
    """A client of a server in one mode."""

    port: Port
    upstream: Upstream
    web: httpx.AsyncClient
    mode: Mode
    headers: dict[str, str]

    async def ask(self, request_id: int = 7) -> None:
        """Ask the panel, whose models never answer."""
        await self.say(id=request_id, method="tools/call", params={**ASK, "_meta": dict(self.mode.meta)})

    async def say(self, **message: Any) -> httpx.Response:
        """Send a message and wait for the end of what comes back."""
        return await self.web.post("/mcp", headers=self.headers, json={"jsonrpc": "2.0", **message})

    async def end(self) -> End:
        """Wait until no call goes on, and tell what came of the run."""
        await self.upstream.until(lambda seen: seen.open == 0)
        run = await self.port.service.latest()
        while run and run.status == "running":
            await anyio.lowlevel.checkpoint()
            run = await self.port.service.latest()
        health = await self.web.get("/healthz")
        return End(run.status if run else None, len(self.upstream.requests), health.status_code)


@asynccontextmanager
async def line(mode: Mode, home: Path) -> AsyncGenerator[Line]:
    """A server in that mode and a client of it, after the handshake if there is one."""
    async with (
        Upstream(held) as upstream,
        on_a_port(home, upstream, **mode.options) as port,
        httpx.AsyncClient(base_url=port.address, timeout=20) as web,
    ):
        connected = Line(port, upstream, web, mode, dict(mode.headers))
        if mode.session:
            hello = await connected.say(id=1, method="initialize", params=HANDSHAKE)
            connected.headers["mcp-session-id"] = hello.headers["mcp-session-id"]
            await connected.say(method="notifications/initialized")
        yield connected


@pytest.mark.parametrize("mode", MODES.values(), ids=MODES)
async def test_a_client_that_hangs_up_interrupts_the_run(mode: Mode, tmp_path: Path) -> None:
    async with line(mode, tmp_path) as client:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(client.ask)
            await client.upstream.until(lambda seen: seen.open == 3)
            tasks.cancel_scope.cancel()
        assert await client.end() == DROPPED


@pytest.mark.parametrize("name", ["session", "session with JSON"])
async def test_in_a_session_a_notification_or_its_own_end_interrupts_the_run(name: str, tmp_path: Path) -> None:
    async with line(MODES[name], tmp_path / "notification") as client, anyio.create_task_group() as tasks:
        tasks.start_soon(client.ask)
        await client.upstream.until(lambda seen: seen.open == 3)
        await client.say(method="notifications/cancelled", params={"requestId": 7})
        assert await client.end() == DROPPED

    async with line(MODES[name], tmp_path / "end") as client, anyio.create_task_group() as tasks:
        tasks.start_soon(client.ask)
        await client.upstream.until(lambda seen: seen.open == 3)
        await client.web.delete("/mcp", headers=client.headers)
        assert await client.end() == DROPPED


async def test_in_a_session_a_second_request_of_an_id_in_use_is_refused(tmp_path: Path) -> None:
    async with line(MODES["session"], tmp_path) as client, anyio.create_task_group() as tasks:
        tasks.start_soon(client.ask)
        await client.upstream.until(lambda seen: seen.open == 3)
        refused = await client.say(id="7", method="ping")
        assert (refused.status_code, refused.json()["error"]["code"]) == (400, -32600)
        assert (await client.say(id=8, method="ping")).status_code == 200
        await client.say(method="notifications/cancelled", params={"requestId": 7})
        assert await client.end() == DROPPED


@pytest.mark.parametrize("cancel", [True, False], ids=["notification", "disconnect"])
async def test_over_sse_a_notification_or_the_end_of_the_stream_interrupts_the_run(
    cancel: bool, tmp_path: Path
) -> None:
    async with line(Mode(), tmp_path) as client:
        async with client.web.stream("GET", "/sse") as stream:
            events = stream.aiter_lines()
            posts = await anext(data async for data in events if data.startswith("data: "))

            async def say(**message: Any) -> None:
                url = posts.removeprefix("data: ")
                await client.web.post(url, headers=ACCEPT, json={"jsonrpc": "2.0", **message})

            await say(id=1, method="initialize", params=HANDSHAKE)
            await say(method="notifications/initialized")
            await say(id=7, method="tools/call", params={**ASK, "_meta": TOLD})
            await client.upstream.until(lambda seen: seen.open == 3)
            await say(id=7, method="ping")
            async for data in events:
                if data.startswith("data: ") and "error" in (answer := json.loads(data.removeprefix("data: "))):
                    assert (answer["id"], answer["error"]["code"]) == (7, -32600)
                    break
            if cancel:
                await say(method="notifications/cancelled", params={"requestId": 7})
                await client.upstream.until(lambda seen: seen.open == 0)
        assert await client.end() == DROPPED


@pytest.mark.parametrize("name", ["modern stream", "modern JSON", "session", "stateless"])
async def test_a_run_that_was_returned_as_running_continues_without_its_client(name: str, tmp_path: Path) -> None:
    mode = MODES[name]
    async with line(mode, tmp_path) as client:
        params = {"name": "moa_ask", "arguments": {**ASK["arguments"], "wait_seconds": 0}, "_meta": dict(mode.meta)}
        reply = await client.say(id=7, method="tools/call", params=params)
        assert '"running"' in reply.text
        run = await client.port.service.latest()
        assert run
        await client.upstream.until(lambda seen: seen.open == 3)
        live = client.port.service.scheduler.find("local", run.run_id)
        assert live
        async with anyio.create_task_group() as tasks:
            collect = {"name": "moa_ask", "arguments": {"run_id": run.run_id}, "_meta": dict(mode.meta)}

            async def collecting() -> None:
                await client.say(id=8, method="tools/call", params=collect)

            tasks.start_soon(collecting)
            while not live.waiters:
                await anyio.lowlevel.checkpoint()
            tasks.cancel_scope.cancel()
        while live.waiters:
            await anyio.lowlevel.checkpoint()
        assert client.upstream.open == 3
        await client.port.service.cancel(run.run_id)
        assert await client.end() == CANCELLED
