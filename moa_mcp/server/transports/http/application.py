"""The ASGI application: access checks, routes, and the context of each request for its handlers."""

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
from moa_mcp.server.sdk_compat.sessions import end_idle_sessions
from moa_mcp.server.transports.http.access import AccessControl, reject
from moa_mcp.server.transports.http.options import HttpLimits, HttpOptions
from moa_mcp.server.transports.http.requests import EXCHANGE, MAX_BODY_BYTES, Exchange
from moa_mcp.server.transports.in_flight import Incoming, InFlight, Outgoing, in_use
from moa_mcp.server.transports.messages import InvalidLine, encode_line, parse_line
from moa_mcp.server.wire import fix_json_surrogates
from moa_mcp.service.service import Service

MESSAGES = "/messages/"

HEALTH = ("/healthz", "/readyz")
"""Health checks without a token. The server listens only while it is ready, so both give the same answer."""

MAX_HEAD_BYTES = 32 * 1024
"""The maximum size of the headers of a request, in bytes."""

NOT_OVER_HTTP = (
    "moa_configure is off over HTTP. Start the server with --allow-configure to let its clients change presets, "
    "or use it over stdio."
)


class Application:
    """Serves the `faces` of its options. Create it with `opened`."""

    def __init__(self, service: Service, options: HttpOptions, limits: HttpLimits) -> None:
        self._limits = limits
        self._access = AccessControl(options, anyio.current_time)
        self._server = build_server(service)
        self._server.middleware.append(_cancel_when_client_leaves)
        if not options.allow_configure:
            self._server.middleware.append(_refuse_configure)
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
        """Yield an application. Leaving the block ends its sessions."""
        application = cls(service, options, limits)
        async with application._manager.run():
            yield application

    def before_body(self, scope: Scope) -> Response | None:
        """The response if the body need not be read. Else None, and the owner is in the scope."""
        if sum(len(name) + len(value) for name, value in scope["headers"]) > MAX_HEAD_BYTES:
            return reject(431, f"Headers have at most {MAX_HEAD_BYTES:,} bytes.", connection="close")
        headers = Headers(scope=scope)
        if rejection := self._access.refuse(headers):
            return rejection
        if scope["path"] in HEALTH:
            return _health(scope["method"])
        if scope["path"].startswith("/.well-known/"):
            return self._not_found()  # not 401: clients would then look for an authorization server, and there is none
        owner = self._access.owner(headers)
        if isinstance(owner, Response):
            return owner
        scope[OWNER] = owner
        # The SDK binds a session to this user, so other owners cannot use it.
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
        rpc = message if isinstance(message, JSONRPCRequest) else None
        key = (session or "", coerce_request_id(rpc.id) if rpc else None)
        if isinstance(message, InvalidLine):
            await _error_reply(message.error)(scope, receive, send)
        elif session is None and rpc and rpc.method == "initialize" and not self._can_open_session(scope[OWNER]):
            words = f"{self._limits.max_sessions} of your sessions are in use, which is the maximum. End one first."
            await reject(429, words)(scope, receive, send)
        elif session is None or key[1] is None:
            await self._manager.handle_request(scope, _replay(request, receive), send)
        elif key in self._in_use:
            await _error_reply(in_use(key[1]))(scope, receive, send)
        else:
            self._in_use.add(key)
            try:
                await self._manager.handle_request(scope, _replay(request, receive), send)
            finally:
                self._in_use.discard(key)

    def _can_open_session(self, owner: str) -> bool:
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
        # The answer goes out on the stream, so the end of this POST must not cancel its handler.
        del scope[EXCHANGE]
        request = await receive()
        message = parse_line(request.get("body", b""))
        if isinstance(message, InvalidLine):
            await _error_reply(message.error)(scope, receive, send)
        else:
            await self._sse.handle_post_message(scope, _replay(request, receive), send)


async def _cancel_when_client_leaves(ctx: Context, call_next: CallNext) -> HandlerResult:
    """Cancel the handler of a request when its client disconnects, in every mode of the SDK."""
    exchange: Exchange | None = ctx.request.scope.get(EXCHANGE) if ctx.request else None
    if exchange is None or ctx.request_id is None:
        return await call_next(ctx)
    with exchange.handled():
        result: HandlerResult = fix_json_surrogates(await call_next(ctx))
        return result
    # Reached only if `handled` cancelled the block: its scope absorbs the cancellation.
    raise MCPError(REQUEST_CANCELLED, "The client is gone.")


async def _refuse_configure(ctx: Context, call_next: CallNext) -> HandlerResult:
    """Refuse calls of moa_configure, which changes presets for all clients."""
    if ctx.method == "tools/call" and (ctx.params or {}).get("name") == "moa_configure":
        return CallToolResult(content=[TextContent(text=NOT_OVER_HTTP)], is_error=True)
    return await call_next(ctx)


def _replay(request: Any, receive: Receive) -> Receive:
    """A `receive` that returns `request` replayed, and then the following messages."""
    pending = [request]

    async def replayed() -> Any:
        return pending.pop() if pending else await receive()

    return replayed


def _error_reply(error: JSONRPCError) -> Response:
    """The response to a body that is not a valid message."""
    return Response(encode_line(error), 400, media_type="application/json")


def _health(method: str) -> Response:
    if method in {"GET", "HEAD"}:
        return Response("ok\n", media_type="text/plain")
    return reject(405, "A health check uses GET or HEAD.", allow="GET, HEAD")
