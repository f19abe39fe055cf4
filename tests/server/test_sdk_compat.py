"""The private parts of mcp and uvicorn are what sdk_compat takes them for."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
import uvicorn
from mcp.server.session import ServerSession
from mcp.server.streamable_http import StreamableHTTPServerTransport
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle
from uvicorn.server import ServerState

from moa_mcp.server.context import OWNER
from moa_mcp.server.sdk_compat.connections import HttpConnection
from moa_mcp.server.transports.http.connections import ConnectionLimit
from tests import clock


@pytest.mark.parametrize(
    ("init", "parts"),
    [
        (ServerSession.__init__, {"_connection"}),
        (StreamableHTTPSessionManager.__init__, {"_server_instances", "_session_owners"}),
        (StreamableHTTPServerTransport.__init__, {"idle_scope"}),
        (H11Protocol.__init__, {"scope", "cycle", "transport", "loop"}),
        (RequestResponseCycle.__init__, {"more_body", "response_complete", "on_response"}),
    ],
)
def test_the_private_parts_are_there(init: Any, parts: set[str]) -> None:
    assert parts <= set(init.__code__.co_names)


class Line:
    """A transport of asyncio whose other end takes nothing while `full`."""

    def __init__(self) -> None:
        self.aborted = anyio.Event()
        self.full = False

    def abort(self) -> None:
        self.aborted.set()

    def write(self, data: bytes) -> None: ...
    def close(self) -> None: ...
    def resume_reading(self) -> None: ...
    def is_closing(self) -> bool:
        return self.aborted.is_set()

    def get_extra_info(self, name: str) -> Any:
        return None

    def get_write_buffer_size(self) -> int:
        return int(self.full)


class Web:
    """An application that sets the owner `anne` if asked to, and answers when the test lets it."""

    def __init__(self, *, known: bool) -> None:
        self.known = known
        self.asked, self.may_answer = anyio.Event(), anyio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if self.known:
            scope[OWNER] = "anne"
        self.asked.set()
        await self.may_answer.wait()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})


@asynccontextmanager
async def connected(web: Web) -> AsyncGenerator[tuple[HttpConnection, Line]]:
    """A connection of `web` and what is below it; it is lost with the block."""
    config, line = uvicorn.Config(web, lifespan="off", log_config=None, timeout_keep_alive=31), Line()
    connection = HttpConnection(config, ServerState(), {}, limit=ConnectionLimit(1), head_seconds=30.0)
    connection.connection_made(line)
    yield connection, line
    web.may_answer.set()
    connection.connection_lost(None)
    await anyio.lowlevel.checkpoint()


@clock.jumping
async def test_an_owner_is_at_work_from_the_end_of_its_request_until_the_answer_is_sent() -> None:
    web = Web(known=True)
    async with connected(web) as (connection, line):
        seen = [(connection.owner, connection.busy)]
        connection.data_received(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\n\r\n")
        await web.asked.wait()
        seen.append((connection.owner, connection.busy))
        connection.data_received(b"x")
        seen.append((connection.owner, connection.busy))
        await anyio.sleep(60)
        assert not line.aborted.is_set()
        line.full = True
        web.may_answer.set()
        await anyio.sleep(1)
        seen.append((connection.owner, connection.busy))
        line.full = False
        seen.append((connection.owner, connection.busy))

    assert seen == [(None, False), ("anne", False), ("anne", True), ("anne", True), ("anne", False)]


@clock.jumping
@pytest.mark.parametrize(
    "sent",
    [b"", b"GET / HT", b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"],
    ids=["silent", "half a head", "an answer that is not taken"],
)
async def test_a_connection_without_a_known_owner_ends_after_the_time_for_a_head(sent: bytes) -> None:
    async with connected(Web(known=False)) as (connection, line):
        started = anyio.current_time()
        if sent:
            connection.data_received(sent)
        await line.aborted.wait()

    assert (anyio.current_time() - started, connection.busy) == (30, False)


@clock.jumping
async def test_each_answer_gives_time_for_one_more_head() -> None:
    web = Web(known=True)
    async with connected(web) as (connection, line):
        started = anyio.current_time()
        await anyio.sleep(20)
        connection.data_received(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        await anyio.sleep(20)
        web.may_answer.set()
        await anyio.sleep(20)
        connection.data_received(b"GET / HTTP/1.1\r\n")
        await line.aborted.wait()

    assert anyio.current_time() - started == 70
