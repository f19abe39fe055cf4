"""One HTTP request and its response: reads the body, watches for a disconnect, and ends the response.

The SDK detects a disconnected client only in some modes. This module detects it in all modes, and cancels the
handlers of the request.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator
from contextlib import contextmanager

import anyio
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from moa_mcp.server.context import OWNER
from moa_mcp.server.transports.http.access import RequestLimits, reject
from moa_mcp.server.transports.messages import fix_body

logger = logging.getLogger(__name__)

MAX_BODY_BYTES = 4 * 1024 * 1024
"""The maximum size of a request body, in bytes."""

EXCHANGE = "moa_mcp.exchange"
"""The key of the exchange in the scope of a request."""

CUT_OFF_SECONDS = 0.5
"""Seconds in which a response that is cut off can still send its end."""


class Exchange:
    """One request and its response. Handlers run inside `handled`, and are cancelled when the client disconnects."""

    def __init__(self, send: Send) -> None:
        self.gone = anyio.Event()
        self.scope = anyio.CancelScope()
        self._send = send
        self._handlers: set[anyio.CancelScope] = set()
        self._started = False
        self._ended = False

    @contextmanager
    def handled(self) -> Generator[anyio.CancelScope]:
        """Cancel the block when the client disconnects."""
        with anyio.CancelScope() as scope:
            self._handlers.add(scope)
            try:
                if self.gone.is_set():
                    scope.cancel()
                yield scope
            finally:
                self._handlers.discard(scope)

    async def watch(self, receive: Receive) -> None:
        """Wait until the client disconnects, then cancel the handlers."""
        while (await receive())["type"] != "http.disconnect":
            pass
        self.gone.set()
        for scope in tuple(self._handlers):
            scope.cancel()

    async def send(self, message: Message) -> None:
        """Send a part of the response, with a header that forbids caching."""
        if message["type"] == "http.response.start":
            self._started = True
            headers = [(name, value) for name, value in message.get("headers", []) if name.lower() != b"cache-control"]
            message = {**message, "headers": [*headers, (b"cache-control", b"no-store, no-transform")]}
        elif message["type"] == "http.response.body":
            self._ended = not message.get("more_body", False)
        await self._send(message)

    async def cut_off(self, scope: Scope, receive: Receive) -> None:
        """End an unfinished response."""
        with anyio.move_on_after(CUT_OFF_SECONDS, shield=True):
            if not self._started:
                await reject(503, "The server is ending.")(scope, receive, self._send)
            elif not self._ended:
                await self._send({"type": "http.response.body", "body": b"", "more_body": False})


class Exchanges:
    """ASGI middleware that creates and ends the exchange of each request.

    `before_body` returns the response to a request that needs no body or is refused; else it writes the owner into
    the scope. The client has `body_seconds` to send the body.
    """

    def __init__(
        self,
        app: ASGIApp,
        before_body: Callable[[Scope], Response | None],
        request_limits: RequestLimits,
        body_seconds: float,
    ) -> None:
        self._app = app
        self._before_body = before_body
        self._request_limits = request_limits
        self._body_seconds = body_seconds
        self._open: set[Exchange] = set()
        self._idle = anyio.Event()

    async def until_idle(self) -> None:
        """Wait until no exchange is open."""
        while self._open:
            await self._idle.wait()

    def end(self) -> None:
        """Cut off all open exchanges."""
        for exchange in tuple(self._open):
            exchange.scope.cancel()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = Exchange(send)
        self._open.add(exchange)
        self._idle = anyio.Event()
        try:
            with exchange.scope:
                await self._serve(exchange, scope, receive)
            if exchange.scope.cancelled_caught:
                await exchange.cut_off(scope, receive)
        finally:
            self._open.discard(exchange)
            if not self._open:
                self._idle.set()

    async def _serve(self, exchange: Exchange, scope: Scope, receive: Receive) -> None:
        if response := self._before_body(scope):
            if _has_body(scope):
                response.headers["connection"] = "close"  # else the body would have to be read to find the next request
            await response(scope, receive, exchange.send)
            return
        body = await _read_body(receive, self._body_seconds)
        if body is None:
            return
        if isinstance(body, Response):
            await body(scope, receive, exchange.send)
            return
        with self._request_limits.hold(scope[OWNER], stream=scope["method"] == "GET") as rejection:
            if rejection:
                await rejection(scope, receive, exchange.send)
                return
            scope[EXCHANGE] = exchange
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(exchange.watch, receive)
                await self._app(scope, _replay_body(fix_body(body), exchange.gone), exchange.send)
                tasks.cancel_scope.cancel()


def _has_body(scope: Scope) -> bool:
    headers = Headers(scope=scope)
    return "transfer-encoding" in headers or headers.get("content-length", "0").strip("0") != ""


async def _read_body(receive: Receive, seconds: float) -> bytes | Response | None:
    """The body, or the response if it is too large or too slow. None if the client has disconnected."""
    body = bytearray()
    with anyio.move_on_after(seconds):
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            body += message.get("body", b"")
            if len(body) > MAX_BODY_BYTES:
                return reject(413, f"A body has at most {MAX_BODY_BYTES:,} bytes.", connection="close")
            if not message.get("more_body", False):
                return bytes(body)
    return reject(408, f"The body took longer than {seconds:g} seconds.", connection="close")


def _replay_body(body: bytes, client_left: anyio.Event) -> Receive:
    """A `receive` that returns `body` again, and then the disconnect once the client has left."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        if messages:
            return messages.pop()
        await client_left.wait()
        return {"type": "http.disconnect"}

    return receive
