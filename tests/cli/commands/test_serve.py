"""`moa-mcp` without a command: the server on stdin and stdout, quick to start and quiet."""

from __future__ import annotations

import json
from typing import Any

import anyio
import pytest

from tests.cli.fixtures import COMMAND, environment, moa, write_home
from tests.cli.view.terminal import Terminal

HEAVY = ("rich", "httpx", "httpx_aiohttp", "aiohttp", "genai_prices", "pydantic_monty")
"""What only runs and terminals need."""


def lines_of(*messages: dict[str, Any]) -> bytes:
    return b"".join(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n" for message in messages)


HELLO = lines_of(
    {
        "id": 1,
        "method": "initialize",
        "params": {
            "protocolVersion": "2025-06-18",
            "capabilities": {},
            "clientInfo": {"name": "test", "version": "1"},
        },
    },
    {"method": "notifications/initialized"},
    {"id": 2, "method": "tools/list"},
)


@pytest.mark.parametrize("arguments", [(), ("serve", "--transport", "stdio"), ("--log-level", "error")])
async def test_stdout_carries_the_protocol_and_nothing_else(arguments: tuple[str, ...]) -> None:
    done = await moa(*arguments, stdin=HELLO)
    replies = {reply["id"]: reply["result"] for reply in map(json.loads, done.stdout.splitlines())}

    assert done.returncode == 0
    assert {tool["name"] for tool in replies[2]["tools"]} == {"moa_ask", "moa_list_presets", "moa_configure"}


async def test_listing_the_tools_loads_nothing_that_only_runs_and_terminals_need(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PYTHONPROFILEIMPORTTIME", "1")
    done = await moa("serve", stdin=HELLO)
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.decode().splitlines()}

    assert "mcp" in loaded
    assert loaded.isdisjoint(HEAVY)


async def test_a_server_starts_with_a_mistake_in_the_configuration_and_logs_it() -> None:
    home = write_home("http://127.0.0.1:9/v1")
    (home / "config.yaml").write_text("limit: {}\n", encoding="utf-8")
    done = await moa("serve", stdin=HELLO)

    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == 2
    assert b"config.yaml, line 1: limit" in done.stderr


async def test_on_a_terminal_a_line_says_that_the_server_waits_for_a_program() -> None:
    terminal = Terminal()
    with anyio.fail_after(30):
        async with await anyio.open_process(
            COMMAND, stdin=terminal.side, stdout=terminal.side, stderr=terminal.side, env=environment()
        ) as process:
            terminal.leave()
            await terminal.until("`moa-mcp ask QUESTION`")
            process.terminate()
        assert "{" not in await terminal.rest()
