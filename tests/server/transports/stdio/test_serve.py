"""The server as a process of its own, spoken to over its stdin and stdout."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio
from anyio.abc import Process
from anyio.streams.buffered import BufferedByteReceiveStream
from mcp import Client
from mcp.client.stdio import StdioServerParameters

import moa_mcp
from tests.server.transports.fixtures import ENVELOPE, HANDSHAKE
from tests.upstream import Reply, Request, Upstream

ROOT = Path(moa_mcp.__file__).parents[1]
COMMAND = [sys.executable, "-m", "moa_mcp"]

PRESET = "{proposers: [{model: lab/p, samples: 2}], layers: 2, aggregator: lab/agg}"

LIST_TOOLS_AND_TELL = """
import sys, anyio
from mcp import Client
from moa_mcp.server.build import build_server
from moa_mcp.api import open_service

async def main():
    async with open_service() as service, Client(build_server(service), mode="legacy") as client:
        await client.list_tools()

anyio.run(main)
sys.stdout.write(" ".join(sys.modules))
"""
NOT_YET = {"httpx", "httpx_aiohttp", "aiohttp", "genai_prices", "rich", "pydantic_monty"}


def environment(home: Path) -> dict[str, str]:
    """All that the process is given: no key of any built-in provider."""
    return {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "MOA_MCP_HOME": str(home)}


def a_client(home: Path, upstream: Upstream, mode: str) -> Client:
    """A client of a process whose models are all at `upstream`."""
    (home / "presets").mkdir(parents=True)
    (home / "presets" / "lab.yaml").write_text(PRESET, encoding="utf-8")
    provider = {"base_url": upstream.base_url, "api_key_env": "LAB_KEY"}
    config = {"default_preset": "lab", "providers": {"lab": provider}}
    (home / "config.yaml").write_text(json.dumps(config), encoding="utf-8")
    command, *arguments = COMMAND
    server = StdioServerParameters(
        command=command, args=arguments, env={**environment(home), "LAB_KEY": "sk-canary"}, cwd=str(ROOT)
    )
    return Client(server, mode=mode)


async def test_a_question_is_answered_by_the_models_with_reports_of_progress(tmp_path: Path, mode: str) -> None:
    lines: list[str] = []

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        lines.append(message or "")

    with anyio.fail_after(30):
        async with Upstream() as upstream, a_client(tmp_path / "home", upstream, mode) as client:
            result = await client.call_tool("moa_ask", {"question": "Why?"}, progress_callback=hear)
            drafts = await client.read_resource("moa://runs/latest/drafts")

    assert result.structured_content["answer"].startswith("agg was asked: ")
    assert len(upstream.requests) == 3
    assert "p was asked: Why?" in getattr(drafts.contents[0], "text", "")
    assert lines
    assert "canary" not in result.model_dump_json()


async def test_a_call_that_is_given_up_ends_the_requests_to_the_models(tmp_path: Path, mode: str) -> None:
    async def held(request: Request) -> Reply:
        await anyio.sleep_forever()
        raise AssertionError("unreachable")

    with anyio.fail_after(30):
        async with Upstream(held) as upstream, a_client(tmp_path / "home", upstream, mode) as client:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(client.call_tool, "moa_ask", {"question": "Why?"})
                await upstream.until(lambda seen: seen.open == 2)
                tasks.cancel_scope.cancel()
            await upstream.until(lambda seen: seen.open == 0)
            assert (await client.list_tools()).tools


async def test_stdout_carries_json_rpc_alone_and_no_key_is_needed(tmp_path: Path) -> None:
    messages: list[dict[str, Any]] = [
        {"id": 1, "method": "initialize", "params": HANDSHAKE},
        {"method": "notifications/initialized"},
        {"id": 2, "method": "tools/list"},
        {"id": 3, "method": "tools/call", "params": {"name": "moa_ask", "arguments": {"question": "Why?"}}},
        {"id": 4, "method": "resources/read", "params": {"uri": "moa://runs/none"}},
    ]
    answers = await spoken(tmp_path, messages)

    assert {tool["name"] for tool in answers[2]["result"]["tools"]} >= {"moa_ask"}
    assert answers[3]["result"]["structuredContent"]["status"] == "completed"
    assert answers[4]["error"]["code"] == -32602


async def test_without_a_handshake_the_tools_are_listed_at_once(tmp_path: Path) -> None:
    answers = await spoken(tmp_path, [{"id": 1, "method": "tools/list", "params": {"_meta": ENVELOPE}}])

    assert len(answers[1]["result"]["tools"]) == 3


async def spoken(home: Path, messages: list[dict[str, Any]]) -> dict[int, dict[str, Any]]:
    """Say `messages` one after another, each request once the one before is answered; the answers by id.

    Every line of stdout is checked to be of the protocol, and the process to end when stdin does.
    """
    answers: dict[int, dict[str, Any]] = {}
    with anyio.fail_after(30):
        async with await anyio.open_process(COMMAND, env=environment(home), cwd=ROOT, stderr=None) as process:
            assert process.stdin
            assert process.stdout
            lines = BufferedByteReceiveStream(process.stdout)
            for message in messages:
                await process.stdin.send(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")
                while "id" in message and message["id"] not in answers:
                    answer = json.loads(await lines.receive_until(b"\n", 10_000_000))
                    assert answer["jsonrpc"] == "2.0"
                    answers[answer["id"]] = answer
            await process.stdin.aclose()
            assert await _rest(process) == b""
            assert await process.wait() == 0
    return answers


async def _rest(process: Process) -> bytes:
    assert process.stdout
    return b"".join([chunk async for chunk in process.stdout])


def test_what_only_a_run_needs_is_not_loaded_to_list_the_tools(tmp_path: Path) -> None:
    loaded = subprocess.run(
        [sys.executable, "-c", LIST_TOOLS_AND_TELL],
        env=environment(tmp_path),
        capture_output=True,
        check=True,
        timeout=60,
    )
    assert not NOT_YET.intersection(loaded.stdout.decode().split())
