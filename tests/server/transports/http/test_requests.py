"""A slow request: the time limit of its body, and the response at the end."""

from __future__ import annotations

import anyio
import pytest
from starlette.types import Message, Receive, Scope, Send

from moa_mcp.server.transports.http.access import RequestLimits
from moa_mcp.server.transports.http.requests import Exchanges
from tests import clock

pytestmark = clock.jumping

PART: Message = {"type": "http.request", "body": b"{", "more_body": True}
SCOPE: Scope = {"type": "http", "method": "POST", "path": "/mcp", "headers": []}


class Web:
    """An application, and a client that sends a part of a body each so many seconds, and then falls silent."""

    def __init__(self, pauses: list[float]) -> None:
        self._pauses = iter(pauses)
        self.asked = False
        self.heard: list[Message] = []

    async def app(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.asked = True

    async def receive(self) -> Message:
        for seconds in self._pauses:
            await anyio.sleep(seconds)
            return PART
        await anyio.sleep_forever()
        raise AssertionError("unreachable")

    async def send(self, message: Message) -> None:
        self.heard.append(message)


@pytest.mark.parametrize("pauses", [[], [0.0], [9.0] * 100], ids=["nothing", "a beginning", "a trickle"])
async def test_a_body_is_waited_for_no_longer_than_30_seconds(pauses: list[float]) -> None:
    web = Web(pauses)
    started = anyio.current_time()
    await Exchanges(web.app, lambda scope: None, RequestLimits(1), body_seconds=30)(dict(SCOPE), web.receive, web.send)
    start, body = web.heard

    assert (start["status"], anyio.current_time() - started, web.asked) == (408, 30, False)
    assert (b"connection", b"close") in start["headers"]
    assert body["body"] == b"The body took longer than 30 seconds.\n"
