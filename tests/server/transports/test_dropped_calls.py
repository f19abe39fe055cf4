"""A time-out throws nothing away: the same question goes on, and the models are asked only what was missing."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Awaitable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client
from mcp.client.stdio import StdioServerParameters

from tests.server.transports.fixtures import COMMAND, ROOT, a_client, held, on_a_port, write_home
from tests.upstream import Reply, Request, Upstream, echo

PANEL = "{proposers: [lab/a, lab/b, lab/c], layers: 2, aggregator: lab/agg}"
ASK = {"question": "Why?", "preset": "panel"}


class Slow:
    """Models that echo, all but `c`, which does not answer until `over` is set."""

    def __init__(self) -> None:
        self.over = False

    def __call__(self, request: Request) -> Reply | Awaitable[Reply]:
        return held(request) if request.model == "c" and not self.over else echo(request)


@asynccontextmanager
async def connected(home: Path, upstream: Upstream, face: str, mode: str) -> AsyncGenerator[Client]:
    """A client of a server whose models are at `upstream`, over stdio or on a port."""
    env = {**write_home(home, upstream), "PYTHONPATH": str(ROOT)}
    (home / "presets" / "panel.yaml").write_text(PANEL, encoding="utf-8")
    if face == "stdio":
        pipes = StdioServerParameters(command=COMMAND[0], args=COMMAND[1:], env=env, cwd=str(ROOT))
        async with Client(pipes, mode=mode) as client:
            yield client
    else:
        async with on_a_port(home, upstream) as port, a_client(port, face, mode) as client:
            yield client


async def told(client: Client, uri: str) -> dict[str, Any]:
    """What a resource tells."""
    text: str = getattr((await client.read_resource(uri)).contents[0], "text", "")
    return dict(json.loads(text))


async def give_up(client: Client, upstream: Upstream) -> str:
    """Ask, leave once two of three drafts are there, and wait until the run has ended; the run's id."""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(client.call_tool, "moa_ask", ASK)
        await upstream.until(lambda seen: len(seen.requests) == 3 and seen.open == 1)
        while len((run := await told(client, "moa://runs/latest/drafts"))["drafts"]) < 2:
            pass
        tasks.cancel_scope.cancel()
    await upstream.until(lambda seen: seen.open == 0)
    while (run := await told(client, "moa://runs/latest"))["status"] == "running":
        pass
    assert run["status"] == "interrupted"
    assert "dropped by the client before the run was done" in run["error"]
    assert "asked within ten minutes" in run["error"]
    assert run["calls_made"] == 3
    return str(run["run_id"])


@pytest.mark.parametrize("mode", ["legacy", "auto"], ids=["handshake", "2026-07-28"])
@pytest.mark.parametrize("face", ["stdio", "mcp", "sse"])
async def test_who_asks_the_same_after_a_time_out_pays_only_for_what_was_missing(
    face: str, mode: str, tmp_path: Path
) -> None:
    slow = Slow()
    async with Upstream(slow) as upstream, connected(tmp_path, upstream, face, mode) as client:
        run_id = await give_up(client, upstream)
        slow.over = True
        again = (await client.call_tool("moa_ask", ASK)).structured_content

    assert (again["run_id"], again["status"], again["degraded"]) == (run_id, "completed", False)
    assert [request.model for request in upstream.requests[3:]] == ["c", "agg"]
    # The request that was cut off was sent, too.
    assert again["calls_made"] == len(upstream.requests) == 5
    assert sorted(call["status"] for call in again["calls"]) == ["cancelled", "ok", "ok", "ok", "ok"]


async def test_a_dropped_run_is_resumed_by_its_id_and_fresh_starts_a_new_one(tmp_path: Path) -> None:
    slow = Slow()
    async with Upstream(slow) as upstream, connected(tmp_path, upstream, "mcp", "auto") as client:
        run_id = await give_up(client, upstream)
        slow.over = True
        fresh = (await client.call_tool("moa_ask", {**ASK, "fresh": True})).structured_content
        collected = (await client.call_tool("moa_ask", {"run_id": run_id})).structured_content

    assert (fresh["run_id"] == run_id, fresh["calls_made"]) == (False, 4)
    assert (collected["status"], collected["calls_made"]) == ("completed", 5)
    assert [request.model for request in upstream.requests[7:]] == ["c", "agg"]


async def test_after_a_dropped_run_is_cancelled_by_its_id_the_question_starts_a_new_run(tmp_path: Path) -> None:
    slow = Slow()
    async with Upstream(slow) as upstream, connected(tmp_path, upstream, "mcp", "auto") as client:
        run_id = await give_up(client, upstream)
        slow.over = True
        stopped = (await client.call_tool("moa_ask", {"run_id": run_id, "cancel": True})).structured_content
        again = (await client.call_tool("moa_ask", ASK)).structured_content

    assert stopped["status"] == "cancelled"
    assert (again["run_id"] == run_id, again["calls_made"]) == (False, 4)
