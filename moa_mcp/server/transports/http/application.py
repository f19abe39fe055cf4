"""The web application: which path leads where, past the gate, and what each request brings its handlers."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import anyio
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken
from mcp.server.context import CallNext, HandlerResult
from mcp.server.sse import SseServerTransport
from mcp.server.streamable_http import REQUEST_CANCELLED
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.shared.dispatcher import coerce_request_id
from mcp.shared.exceptions import MCPError
from mcp.types import CallToolResult, JSONRPCError, JSONRPCRequest, TextContent
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from moa_mcp.server.build import build_server
from moa_mcp.server.context import OWNER, Context
from moa_mcp.server.sdk_compat import end_idle_sessions
from moa_mcp.server.transports.http.access import AccessControl, Rejection
from moa_mcp.server.transports.http.options import HttpLimits, HttpOptions
from moa_mcp.server.transports.http.requests import EXCHANGE, MAX_BODY_BYTES, Exchange, reject
from moa_mcp.server.transports.in_flight import Incoming, InFlight, Outgoing, in_use
from moa_mcp.server.transports.messages import InvalidLine, encode_line, parse_line
from moa_mcp.server.wire import fix_json_surrogates
from moa_mcp.service.service import Service

MESSAGES = "/messages/"

HEALTH = ("/healthz", "/readyz")
"""Where anybody may ask whether the server is well. It listens only while it is ready, so both say the same."""

MAX_HEAD_BYTES = 32 * 1024
"""Bytes that the headers of a request have at most."""

NOT_OVER_HTTP = (
    "moa_configure is off over HTTP. Start the server with --allow-configure to let its clients change presets, "
    "or use it over stdio."
)


class Application:
    """Serves the faces that its options name. Use it through `opened`."""

    def __init__(self, service: Service, options: HttpOptions, limits: HttpLimits) -> None:
        self._limits = limits
        self._access = AccessControl(options, anyio.current_time)
        self._server = build_server(service)
        self._server.middleware.append(_cancel_when_client_leaves)
        if not options.allow_configure:
            self._server.middleware.append(_without_configure)
        self._sse = SseServerTransport(MESSAGES, max_request_body_size=MAX_BODY_BYTES)
        self._manager = StreamableHTTPSessionManager(
            self._server,
            json_response=options.json_response,
            stateless=options.stateless,
            session_idle_timeout=limits.session_seconds,
        )
        self._in_use: set[tuple[str, Any]] = set()
        self._routes: dict[str, ASGIApp] = {}
        if "mcp" in options.faces:
            self._routes["/mcp"] = self._mcp
        if "sse" in options.faces:
            self._routes |= {"/sse": self._listen, MESSAGES.rstrip("/"): self._post}

    @classmethod
    @asynccontextmanager
    async def opened(cls, service: Service, options: HttpOptions, limits: HttpLimits) -> AsyncGenerator[Application]:
        """An application for as long as the block lasts; leaving it ends its sessions."""
        application = cls(service, options, limits)
        async with application._manager.run():
            yield application

    def before_body(self, scope: Scope) -> Response | None:
        """The response to a request whose body is not read; None for others, with their owner noted in the scope."""
        if sum(len(name) + len(value) for name, value in scope["headers"]) > MAX_HEAD_BYTES:
            return reject(431, f"Headers have at most {MAX_HEAD_BYTES:,} bytes.", connection="close")
        headers = Headers(scope=scope)
        if turned := self._access.refuse(headers):
            return reject(turned.status, turned.why, **turned.headers)
        if scope["path"] in HEALTH:
            return _health(scope["method"])
        if scope["path"].startswith("/.well-known/"):
            return self._not_found()  # with 401, clients look for an authorization server that is not there
        owner = self._access.owner(headers)
        if isinstance(owner, Rejection):
            return reject(owner.status, owner.why, **owner.headers)
        scope[OWNER] = owner
        # The SDK binds a session to the user that began it.
        scope["user"] = AuthenticatedUser(AccessToken(token="", client_id=owner, scopes=[]))
        return None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        route = self._routes.get(scope["path"].rstrip("/"))
        if route is None:
            await self._not_found()(scope, receive, send)
        else:
            await route(scope, receive, send)

    def _not_found(self) -> Response:
        return reject(404, f"Nothing is served here. There is {', '.join((*HEALTH, *self._routes))}.")

    async def _mcp(self, scope: Scope, receive: Receive, send: Send) -> None:
        session = Headers(scope=scope).get("mcp-session-id")
        request = await receive()
        message = parse_line(request.get("body", b""))
        asked = message if isinstance(message, JSONRPCRequest) else None
        key = (session or "", coerce_request_id(asked.id) if asked else None)
        if isinstance(message, InvalidLine):
            await _refused(message.error)(scope, receive, send)
        elif session is None and asked and asked.method == "initialize" and not self._has_room_for(scope[OWNER]):
            words = f"{self._limits.max_sessions} sessions of yours are in use, the most there may be. End one first."
            await reject(429, words)(scope, receive, send)
        elif session is None or key[1] is None:
            await self._manager.handle_request(scope, _replay(request, receive), send)
        elif key in self._in_use:
            await _refused(in_use(key[1]))(scope, receive, send)
        else:
            self._in_use.add(key)
            try:
                await self._manager.handle_request(scope, _replay(request, receive), send)
            finally:
                self._in_use.discard(key)

    def _has_room_for(self, owner: str) -> bool:
        return end_idle_sessions(self._manager, owner, keep=self._limits.max_sessions - 1)

    async def _listen(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] != "GET":
            await reject(405, "A stream is opened with GET.", allow="GET")(scope, receive, send)
            return
        in_flight = InFlight()
        async with self._sse.connect_sse(scope, receive, send) as (messages, replies):
            outgoing = Outgoing(replies, in_flight)
            incoming = Incoming(messages, outgoing, in_flight)
            await self._server.run(incoming, outgoing, self._server.create_initialization_options())

    async def _post(self, scope: Scope, receive: Receive, send: Send) -> None:
        # What is asked here is answered on the stream: that this request is over does not end it.
        del scope[EXCHANGE]
        request = await receive()
        message = parse_line(request.get("body", b""))
        if isinstance(message, InvalidLine):
            await _refused(message.error)(scope, receive, send)
        else:
            await self._sse.handle_post_message(scope, _replay(request, receive), send)


async def _cancel_when_client_leaves(ctx: Context, call_next: CallNext) -> HandlerResult:
    """Cancel what works for a request whose client is gone, in every mode of the SDK."""
    exchange: Exchange | None = ctx.request.scope.get(EXCHANGE) if ctx.request else None
    if exchange is None or ctx.request_id is None:
        return await call_next(ctx)
    with exchange.handled():
        result: HandlerResult = fix_json_surrogates(await call_next(ctx))
        return result
    raise MCPError(REQUEST_CANCELLED, "The client is gone.")


async def _without_configure(ctx: Context, call_next: CallNext) -> HandlerResult:
    """Answer for the tool that may change what everybody gets."""
    if ctx.method == "tools/call" and (ctx.params or {}).get("name") == "moa_configure":
        return CallToolResult(content=[TextContent(text=NOT_OVER_HTTP)], is_error=True)
    return await call_next(ctx)


def _replay(request: Any, receive: Receive) -> Receive:
    """What was received, to be received again, and then what follows."""
    received = [request]

    async def again() -> Any:
        return received.pop() if received else await receive()

    return again


def _refused(error: JSONRPCError) -> Response:
    """The response to a body that holds no message that could be served."""
    return Response(encode_line(error), 400, media_type="application/json")


def _health(method: str) -> Response:
    if method in {"GET", "HEAD"}:
        return Response("ok\n", media_type="text/plain")
    return reject(405, "Whether the server is well is asked with GET or HEAD.", allow="GET, HEAD")
