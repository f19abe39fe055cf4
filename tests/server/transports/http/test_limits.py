"""Nobody keeps others out of a port: what waits makes way or ends, and no owner takes all there is."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import anyio
import httpx
import pytest
from anyio.abc import SocketStream

from moa_mcp.server.transports.http.options import HttpLimits
from tests.server.transports.fixtures import ENVELOPE, HANDSHAKE, Port, on_a_port

TOKENS = {"anne": "anne-0123456789abcdef", "ben": "ben-0123456789abcdef"}
ANNE, BEN = ({"authorization": f"Bearer {token}"} for token in TOKENS.values())
ACCEPT = {"accept": "application/json, text/event-stream", "content-type": "application/json"}
LIST = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": ENVELOPE}}
MODERN = {**ACCEPT, "mcp-protocol-version": "2026-07-28", "mcp-method": "tools/list"}
HELLO = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": HANDSHAKE}
PING = {"jsonrpc": "2.0", "id": 2, "method": "ping"}

HEALTH = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n"
HALF = b"GET /healthz HTTP/1.1\r\nx-a: "


@asynccontextmanager
async def connected(port: Port, *sent: bytes) -> AsyncGenerator[SocketStream]:
    """A connection over which each of `sent` was sent once the one before was answered."""
    async with await anyio.connect_tcp("127.0.0.1", port.port) as stream:
        for number, data in enumerate(sent):
            if number:
                await stream.receive()
            await stream.send(data)
        yield stream


async def rest(stream: SocketStream) -> bytes:
    """What still comes, until the server closes the connection."""
    received = b""
    try:
        async for data in stream:
            received += data
    except anyio.BrokenResourceError:
        pass  # it closed with something of ours unread
    return received


@pytest.mark.parametrize("sent", [(), (HALF,), (HEALTH, HALF)], ids=["silent", "half a head", "a later half head"])
async def test_connections_that_ask_for_nothing_make_way(sent: tuple[bytes, ...], tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        port = await stack.enter_async_context(on_a_port(tmp_path, max_connections=3))
        waiting = [await stack.enter_async_context(connected(port, *sent)) for _ in range(3)]
        web = await stack.enter_async_context(httpx.AsyncClient(base_url=port.address))

        assert (await web.get("/healthz")).status_code == 200
        assert (await web.post("/mcp", headers=MODERN, json=LIST)).status_code == 200
        assert await rest(waiting[0]) in {b"", b"ok\n"}


async def test_those_who_are_not_known_make_way_before_an_owner(tmp_path: Path) -> None:
    known = b"GET /mcp HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer anne-0123456789abcdef\r\n\r\n"
    async with (
        on_a_port(tmp_path, tokens=TOKENS, max_connections=2) as port,
        connected(port, known) as anne,
        connected(port, HALF) as stranger,
        connected(port, HEALTH) as newcomer,
    ):
        assert b"406" in await anne.receive()
        assert b"200" in await newcomer.receive()
        assert await rest(stranger) == b""
        await anne.send(known)
        assert b"406" in await anne.receive()


@pytest.mark.parametrize("sent", [(), (HALF,), (HEALTH,), (HEALTH, HALF)])
async def test_a_connection_that_asks_for_nothing_ends(sent: tuple[bytes, ...], tmp_path: Path) -> None:
    async with on_a_port(tmp_path, limits=HttpLimits(head_seconds=0.3)) as port, connected(port, *sent) as stream:
        await rest(stream)


async def test_a_head_that_comes_letter_by_letter_ends_with_its_time(tmp_path: Path) -> None:
    async with (
        on_a_port(tmp_path, limits=HttpLimits(head_seconds=0.3)) as port,
        connected(port, HEALTH, HALF) as stream,
    ):
        with pytest.raises(anyio.BrokenResourceError):
            await drip(stream)


async def drip(stream: SocketStream) -> None:
    """Send a letter at a time for as long as it goes."""
    while True:
        await stream.send(b"y")
        await anyio.lowlevel.checkpoint()


BODY = b"host: localhost\r\ncontent-length: 4000000\r\n\r\n"


@pytest.mark.parametrize(
    ("line", "status"),
    [(b"POST /healthz", b"405"), (b"GET /healthz", b"200"), (b"POST /mcp", b"401"), (b"POST /.well-known/x", b"404")],
)
async def test_the_body_of_a_request_without_a_known_owner_is_not_read(
    line: bytes, status: bytes, tmp_path: Path
) -> None:
    async with (
        on_a_port(tmp_path, tokens=TOKENS) as port,
        connected(port, line + b" HTTP/1.1\r\n" + BODY) as stream,
    ):
        answer = await rest(stream)

    assert answer.startswith(b"HTTP/1.1 " + status)
    assert b"connection: close" in answer


async def test_a_body_that_does_not_come_ends_the_request(tmp_path: Path) -> None:
    limits = HttpLimits(body_seconds=0.1)
    async with on_a_port(tmp_path, limits=limits) as port, connected(port, b"POST /mcp HTTP/1.1\r\n" + BODY) as stream:
        assert b"408" in await rest(stream)


CHUNK = b"0\r\n\r\n"


@pytest.mark.parametrize(
    "framing",
    [
        b"content-length: 5\r\ntransfer-encoding: chunked",
        b"content-length: 5\r\ncontent-length: 6",
        b"content-length: 5, 6",
        b"transfer-encoding: gzip, chunked",
        b"transfer-encoding: chunked\r\ntransfer-encoding: chunked",
    ],
)
async def test_a_request_whose_end_is_in_doubt_is_the_last_of_its_connection(framing: bytes, tmp_path: Path) -> None:
    request = b"POST /mcp HTTP/1.1\r\nhost: localhost\r\n" + framing + b"\r\n\r\n" + CHUNK + HEALTH
    async with on_a_port(tmp_path) as port, connected(port, request) as stream:
        answer = await rest(stream)

    assert answer.startswith(b"HTTP/1.1 400")
    assert answer.count(b"HTTP/1.1") == 1


async def test_the_streams_of_one_owner_leave_room_for_the_others(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        port = await stack.enter_async_context(on_a_port(tmp_path, tokens=TOKENS, max_connections=4))
        web = await stack.enter_async_context(httpx.AsyncClient(base_url=port.address))
        opened = [await stack.enter_async_context(web.stream("GET", "/sse", headers=ANNE)) for _ in range(3)]

        assert [stream.status_code for stream in opened] == [200, 200, 429]
        assert "2 of your streams are open" in (await opened[2].aread()).decode()
        assert (await web.post("/mcp", headers={**MODERN, **ANNE}, json=LIST)).status_code == 200
        beside = [await stack.enter_async_context(web.stream("GET", "/sse", headers=BEN)) for _ in range(2)]
        assert [stream.status_code for stream in beside] == [200, 200]
        refused = await web.post("/mcp", headers={**MODERN, **BEN}, json=LIST)
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        assert (await web.get("/healthz")).status_code == 200


async def begun(web: httpx.AsyncClient, owner: Mapping[str, str] = ANNE) -> dict[str, str]:
    """Begin a session; the headers of what is said in it."""
    headers = {**ACCEPT, **owner}
    reply = await web.post("/mcp", headers=headers, json=HELLO)
    return {**headers, "mcp-session-id": reply.headers["mcp-session-id"]}


async def test_one_session_too_many_ends_the_one_of_that_owner_that_is_idle_longest(tmp_path: Path) -> None:
    async with (
        on_a_port(tmp_path, tokens=TOKENS, limits=HttpLimits(max_sessions=3)) as port,
        httpx.AsyncClient(base_url=port.address) as web,
    ):
        ben, listening, idle, used = await begun(web, BEN), await begun(web), await begun(web), await begun(web)
        await web.post("/mcp", headers=used, json=PING)
        async with web.stream("GET", "/mcp", headers=listening) as stream:
            assert stream.status_code == 200
            newest = await begun(web)
            sessions = (ben, listening, idle, used, newest)
            statuses = [(await web.post("/mcp", headers=session, json=PING)).status_code for session in sessions]

    assert statuses == [200, 200, 404, 200, 200]


async def test_a_session_in_use_is_not_ended_for_another(tmp_path: Path) -> None:
    async with (
        on_a_port(tmp_path, limits=HttpLimits(max_sessions=1)) as port,
        httpx.AsyncClient(base_url=port.address) as web,
    ):
        session = await begun(web)
        async with web.stream("GET", "/mcp", headers=session):
            refused = await web.post("/mcp", headers=ACCEPT, json=HELLO)
            assert (refused.status_code, "1 of your sessions are in use" in refused.text) == (429, True)
            assert (await web.post("/mcp", headers=session, json=PING)).status_code == 200


async def test_an_idle_session_ends(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with (
        on_a_port(tmp_path, limits=HttpLimits(session_seconds=0.1)) as port,
        httpx.AsyncClient(base_url=port.address) as web,
    ):
        session = await begun(web)
        while "idle timeout" not in caplog.text:  # a look at it would be a request, with which it is not idle
            await anyio.lowlevel.checkpoint()
        assert (await web.post("/mcp", headers=session, json=PING)).status_code == 404
