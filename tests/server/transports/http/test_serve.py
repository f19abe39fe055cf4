"""The server on a port: what it turns away, whose runs are whose, and what each client of each era gets."""

from __future__ import annotations

import signal
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from mcp import Client
from mcp.client.stdio import StdioServerParameters

from tests.server.transports.fixtures import (
    ASK,
    COMMAND,
    ENVELOPE,
    HANDSHAKE,
    ROOT,
    a_client,
    held,
    on_a_port,
    on_pipes,
    write_home,
)
from tests.upstream import Reply, Upstream

ANNE, BEN = "anne-0123456789abcdef", "ben-0123456789abcdef"
TOKENS = {"anne": ANNE, "ben": BEN}
ACCEPT = {"accept": "application/json, text/event-stream", "content-type": "application/json"}
PING = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": ENVELOPE}}
MODERN = {**ACCEPT, "mcp-protocol-version": "2026-07-28", "mcp-method": "tools/list"}


async def test_it_says_that_it_is_well_and_where_nothing_is(tmp_path: Path) -> None:
    async with on_a_port(tmp_path) as port, httpx.AsyncClient(base_url=port.address) as web:
        for path in ("/healthz", "/readyz"):
            assert (await web.get(path)).text == "ok\n"
            assert (await web.head(path)).status_code == 200
            assert (await web.post(path)).status_code == 405
        assert (await web.get("/")).status_code == 404
        assert (await web.post("/sse")).status_code == 405
        assert (await web.post("/messages/?session_id=0", headers=ACCEPT, json=PING)).status_code in {400, 404}


@pytest.mark.parametrize(("faces", "missing"), [(("mcp",), "/sse"), (("sse",), "/mcp")])
async def test_a_single_transport_serves_no_other(faces: tuple[str, ...], missing: str, tmp_path: Path) -> None:
    async with on_a_port(tmp_path, faces=faces) as port, httpx.AsyncClient(base_url=port.address) as web:
        assert (await web.get(missing)).status_code == 404


@pytest.mark.parametrize("path", ["/mcp", "/sse", "/messages/", "/healthz"])
async def test_names_pages_and_panels_that_do_not_belong_are_turned_away_everywhere(path: str, tmp_path: Path) -> None:
    async with on_a_port(tmp_path) as port, httpx.AsyncClient(base_url=port.address) as web:
        assert (await web.get(path, headers={"host": "evil.example"})).status_code == 421
        assert (await web.get(path, headers={"origin": "http://127.0.0.1:1@evil.example"})).status_code == 403
        refused = await web.get(path, headers={"x-moa-depth": "1"})
        assert refused.status_code == 508
        assert "access-control-allow-origin" not in refused.headers


@pytest.mark.parametrize("path", ["/mcp", "/sse", "/messages/"])
async def test_a_token_is_needed_everywhere_once_there_is_one(path: str, tmp_path: Path) -> None:
    async with on_a_port(tmp_path, tokens=TOKENS) as port, httpx.AsyncClient(base_url=port.address) as web:
        for headers in ({}, {"authorization": "Bearer wrong"}):
            refused = await web.get(path, headers=headers)
            assert refused.status_code == 401
            assert refused.headers["www-authenticate"].startswith("Bearer")


async def test_a_look_up_of_an_authorization_server_is_answered_with_404(tmp_path: Path) -> None:
    async with on_a_port(tmp_path, tokens=TOKENS) as port, httpx.AsyncClient(base_url=port.address) as web:
        for path in ("oauth-protected-resource", "oauth-protected-resource/mcp", "oauth-authorization-server"):
            assert (await web.get(f"/.well-known/{path}")).status_code == 404
        assert (await web.get("/healthz")).status_code == 200


async def test_a_body_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    async with on_a_port(tmp_path) as port, httpx.AsyncClient(base_url=port.address) as web:
        refused = await web.post("/mcp", headers=MODERN, content=b" " * (4 * 1024 * 1024 + 1))
        assert refused.status_code == 413
        assert (await web.post("/mcp", headers=MODERN, json=PING)).status_code == 200


async def test_headers_that_are_too_large_are_refused(tmp_path: Path) -> None:
    async with on_a_port(tmp_path) as port, httpx.AsyncClient(base_url=port.address) as web:
        assert (await web.get("/healthz", headers={"x": "y" * 100_000})).status_code == 431
        assert (await web.get("/healthz")).status_code == 200


async def test_the_answer_to_too_many_requests_says_when_to_retry(tmp_path: Path) -> None:
    async with on_a_port(tmp_path, requests_per_minute=20) as port, httpx.AsyncClient(base_url=port.address) as web:
        replies = [await web.post("/mcp", headers=MODERN, json=PING) for _ in range(3)]

    assert [reply.status_code for reply in replies] == [200, 200, 429]
    assert int(replies[2].headers["retry-after"]) >= 1


MALFORMED = (b"", b"garbage", b"[]", b"{}", b"[" * 100_000, b"\xff", b'{"jsonrpc":"2.0","id":1}')


@pytest.mark.parametrize("headers", [MODERN, ACCEPT], ids=["2026-07-28", "handshake"])
async def test_a_malformed_body_is_refused_and_the_next_is_served(headers: dict[str, str], tmp_path: Path) -> None:
    async with on_a_port(tmp_path) as port, httpx.AsyncClient(base_url=port.address) as web:
        for body in MALFORMED:
            assert 400 <= (await web.post("/mcp", headers=headers, content=body)).status_code < 500, body
            assert (await web.post("/mcp", headers=MODERN, json=PING)).status_code == 200


WITH_AN_ID = (
    {"jsonrpc": "2.0", "id": 504},
    {"jsonrpc": "1.0", "id": 504, "method": "ping"},
    {"jsonrpc": "2.0", "id": 504, "method": 3},
    {"jsonrpc": "2.0", "id": 504, "method": "ping", "params": 3},
)


@pytest.mark.parametrize("headers", [MODERN, ACCEPT], ids=["2026-07-28", "handshake"])
@pytest.mark.parametrize("message", WITH_AN_ID)
async def test_a_malformed_request_is_refused_under_its_own_id_on_every_path(
    headers: dict[str, str], message: dict[str, Any], tmp_path: Path
) -> None:
    async with (
        on_a_port(tmp_path) as port,
        httpx.AsyncClient(base_url=port.address) as web,
        web.stream("GET", "/sse") as stream,
    ):
        posts = await anext(line async for line in stream.aiter_lines() if line.startswith("data: "))
        paths = ("/mcp", posts.removeprefix("data: "))
        refusals = [await web.post(path, headers=headers, json=message) for path in paths]

    assert {(refused.status_code, refused.json()["id"]) for refused in refusals} == {(400, 504)}
    assert {refused.json()["error"]["code"] for refused in refusals} == {-32600}


async def test_responses_are_not_for_caches(tmp_path: Path) -> None:
    async with on_a_port(tmp_path) as port, httpx.AsyncClient(base_url=port.address) as web:
        reply = await web.post("/mcp", headers=MODERN, json=PING)
        async with web.stream("GET", "/sse") as stream:
            assert stream.headers.get_list("cache-control") == ["no-store, no-transform"]
        assert reply.headers.get_list("cache-control") == ["no-store, no-transform"]


@pytest.mark.parametrize("face", ["mcp", "sse"])
async def test_half_an_emoji_is_served_in_both_directions(face: str, tmp_path: Path) -> None:
    async with (
        Upstream(lambda request: Reply("half \ud83d")) as upstream,
        on_a_port(tmp_path, upstream) as port,
        a_client(port, face, "legacy") as client,
    ):
        result = await client.call_tool("moa_ask", {"question": "Why?"})
        assert "half \N{REPLACEMENT CHARACTER}" in result.structured_content["answer"]


async def test_half_an_emoji_in_a_question_is_replaced(tmp_path: Path) -> None:
    body = b'{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"x":"\\ud83d",' + HELLO
    async with on_a_port(tmp_path) as port, httpx.AsyncClient(base_url=port.address) as web:
        assert (await web.post("/mcp", headers=ACCEPT, content=body)).status_code == 200


HELLO = b'"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"test","version":"1"}}}'
assert HANDSHAKE["protocolVersion"].encode() in HELLO


@pytest.mark.parametrize("face", ["mcp", "sse"])
async def test_owners_see_neither_each_others_runs_nor_that_there_are_any(face: str, tmp_path: Path) -> None:
    async with (
        Upstream() as upstream,
        on_a_port(tmp_path, upstream, tokens=TOKENS) as port,
        a_client(port, face, "auto", ANNE) as anne,
        a_client(port, face, "legacy", BEN) as ben,
    ):
        asked = (await anne.call_tool("moa_ask", {"question": "Why?"})).structured_content
        own = await anne.call_tool("moa_ask", {"run_id": asked["run_id"]})
        foreign = await ben.call_tool("moa_ask", {"run_id": asked["run_id"]})
        unknown = await ben.call_tool("moa_ask", {"run_id": "f" * 32})
        again = (await ben.call_tool("moa_ask", {"question": "Why?"})).structured_content

        assert own.structured_content["run_id"] == asked["run_id"]
        assert foreign.is_error
        assert text_of(foreign).replace(asked["run_id"], "f" * 32) == text_of(unknown)
        assert again["run_id"] != asked["run_id"]


async def test_a_session_serves_only_the_owner_who_began_it(tmp_path: Path) -> None:
    async with on_a_port(tmp_path, tokens=TOKENS) as port, httpx.AsyncClient(base_url=port.address) as web:
        hello = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": HANDSHAKE}
        begun = await web.post("/mcp", headers={**ACCEPT, "authorization": f"Bearer {ANNE}"}, json=hello)
        session = {"mcp-session-id": begun.headers["mcp-session-id"]}
        ping = {"jsonrpc": "2.0", "id": 2, "method": "ping"}
        for token, status in ((BEN, 404), (ANNE, 200)):
            headers = {**ACCEPT, **session, "authorization": f"Bearer {token}"}
            assert (await web.post("/mcp", headers=headers, json=ping)).status_code == status


@pytest.mark.parametrize("allowed", [False, True])
async def test_clients_change_presets_only_where_the_server_was_started_for_it(allowed: bool, tmp_path: Path) -> None:
    async with on_a_port(tmp_path, allow_configure=allowed) as port, a_client(port, "mcp", "auto") as client:
        result = await client.call_tool("moa_configure", {})

    assert result.is_error is not allowed
    assert allowed or "--allow-configure" in text_of(result)


async def test_clients_of_both_eras_are_served_over_all_transports_at_once(tmp_path: Path) -> None:
    answers: dict[tuple[str, str], Any] = {}

    async def ask(name: tuple[str, str], connecting: AbstractAsyncContextManager[Client]) -> None:
        async with connecting as client:
            result = await client.call_tool("moa_ask", {"question": f"Who is {name}?"})
            answers[name] = result.structured_content

    async with Upstream() as upstream, on_a_port(tmp_path / "port", upstream) as port:
        env = {**write_home(tmp_path / "pipes", upstream), "PYTHONPATH": str(ROOT)}
        pipes = StdioServerParameters(command=COMMAND[0], args=COMMAND[1:], env=env, cwd=str(ROOT))
        async with anyio.create_task_group() as tasks:
            for mode in ("legacy", "auto"):
                tasks.start_soon(ask, ("stdio", mode), Client(pipes, mode=mode))
                for face in ("mcp", "sse"):
                    tasks.start_soon(ask, (face, mode), a_client(port, face, mode))

    assert len({answer["run_id"] for answer in answers.values()}) == 6
    assert all(f"Who is {name}?" in answer["answer"] for name, answer in answers.items())


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_calls_and_streams_and_says_what_became_of_the_run(
    end: signal.Signals, tmp_path: Path
) -> None:
    arguments = ("--transport", "http", "--port", "0")
    replies: list[str] = []
    async with Upstream(held) as upstream, on_pipes(tmp_path, upstream, *arguments) as talk:
        assert talk.process.stderr
        line = (await talk.process.stderr.receive()).decode()
        address = line.partition(" at ")[2].split()[0].removesuffix("/mcp")

        async def ask(web: httpx.AsyncClient) -> None:
            headers = {**MODERN, "mcp-method": "tools/call", "mcp-name": "moa_ask"}
            call = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {**ASK, "_meta": ENVELOPE}}
            replies.append((await web.post("/mcp", headers=headers, json=call)).text)

        async with httpx.AsyncClient(base_url=address) as web, web.stream("GET", "/sse") as stream:
            assert stream.status_code == 200
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(ask, web)
                await upstream.until(lambda seen: seen.open == 3)
                talk.process.send_signal(end)
            with anyio.fail_after(5):
                assert await talk.process.wait() == 0
        await upstream.until(lambda seen: seen.open == 0)

    assert '"interrupted"' in replies[0]


def text_of(result: Any) -> str:
    return "".join(getattr(block, "text", "") for block in result.content)
