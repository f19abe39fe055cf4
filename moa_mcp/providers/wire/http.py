"""The HTTP client: one per endpoint, with replies read as they arrive.

Only this module uses httpx. Import it when the first call is made, because httpx and aiohttp take 0.3 s to load. Time
limits, concurrency limits and prices are not handled here; each is a wrapper around a provider.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import AsyncIterable, AsyncIterator, Generator, Mapping
from contextlib import contextmanager, suppress
from functools import cache, partial
from typing import Any

import aiohttp
import anyio
import anyio.lowlevel
import httpx
from httpx_aiohttp import AiohttpTransport
from pydantic_core import to_json

from moa_mcp.domain.errors import ProviderError, Reason
from moa_mcp.domain.model import Draft
from moa_mcp.providers.base import OnText
from moa_mcp.providers.dialects.error_mapping import error_from_redirect, error_from_response
from moa_mcp.providers.dialects.json_access import parse
from moa_mcp.providers.dialects.reader import ReplyReader
from moa_mcp.providers.loop_guard import HEADERS
from moa_mcp.providers.wire.keys import redact_key
from moa_mcp.providers.wire.sse import EventSplitter

CONNECT_SECONDS = 10
KEEP_ALIVE_SECONDS = 30
DRAIN_SECONDS = 0.2
"""Time to read the rest of the body after the answer is complete, so that the connection can be reused."""
REFUSAL_SECONDS = 2
"""Time to read the body of an error reply; its status is the most important part."""

MAX_BODY = 2 * 1024 * 1024
"""The most bytes of a body that is not a stream."""
MAX_STREAM = 64 * 1024 * 1024
"""The most bytes of a stream. A token takes about 300 bytes, so the longest answers are far below it. The limit of
the text itself is `reply_builder.MAX_TEXT`."""

REASON_OF_ERROR: Mapping[type[Exception], Reason] = {
    httpx.ConnectError: Reason.CONNECTION,
    httpx.ConnectTimeout: Reason.CONNECTION,  # this transport also raises it for a reset before the headers
    httpx.ReadError: Reason.CONNECTION,
    httpx.WriteError: Reason.CONNECTION,
    httpx.CloseError: Reason.CONNECTION,
    httpx.ProxyError: Reason.CONNECTION,
    httpx.UnsupportedProtocol: Reason.CONNECTION,
    httpx.ReadTimeout: Reason.TIMEOUT,
    httpx.WriteTimeout: Reason.TIMEOUT,
    httpx.PoolTimeout: Reason.TIMEOUT,
    httpx.LocalProtocolError: Reason.BAD_REQUEST,
    httpx.RemoteProtocolError: Reason.MALFORMED,
    httpx.TransportError: Reason.CONNECTION,
    aiohttp.ClientError: Reason.MALFORMED,  # not mapped by the transport: replies that are not HTTP
    OSError: Reason.CONNECTION,
}
"""The reason for each transport error; the most specific class in this table counts."""

BROKEN_CONNECTION = tuple(REASON_OF_ERROR)

NEVER_SENT = (httpx.ConnectError, httpx.ProxyError, httpx.UnsupportedProtocol, httpx.LocalProtocolError)
"""The transport errors after which nothing can have been sent or billed."""

_CONNECT_TIMEOUT = {"timeout": httpx.Timeout(None, connect=CONNECT_SECONDS).as_dict()}


class Http:
    """The HTTP client of one origin. Its connections, headers and key are used for no other origin.

    Requests go directly to the transport. An httpx client would add redirects, cookies, proxies from the environment
    and authentication. None of these may happen here, and they take a third of the time.
    """

    def __init__(
        self, base_url: str, headers: Mapping[str, str], key: str | None, *, use_proxy_env: bool = False
    ) -> None:
        self._key = key
        self._base_url = base_url.rstrip("/")
        # Made once: making the headers for each call would be a tenth of the cost of a call.
        common = {"user-agent": "moa-mcp", "accept-encoding": "identity", **HEADERS, **headers}
        self._get_headers = httpx.Headers({**common, "accept": "application/json"})
        self._post_headers = httpx.Headers(
            {**common, "accept": "text/event-stream, application/json", "content-type": "application/json"}
        )
        self._urls: dict[str, httpx.URL] = {}
        self._transport = AiohttpTransport(verify=_tls_context(), client=partial(_session, use_proxy_env=use_proxy_env))

    async def stream(self, path: str, body: Mapping[str, Any], reader: ReplyReader, on_text: OnText) -> Draft:
        """Post a request and read the reply to its end. Raises ProviderError, with the key redacted."""
        answered = False
        try:
            response = await self._send("POST", path, self._post_headers, to_json(body))
            try:
                await _check(response)
                answered = True
                reader.reply.note_headers(response.headers)
                await _read_reply(response, reader, on_text)
            finally:
                await _close(response)
            return reader.reply.draft()
        except ProviderError as error:
            error.detail = redact_key(error.detail, self._key)
            error.sent_text = reader.reply.has_text
            error.reached = error.reached or answered
            error.served_model = redact_key(reader.reply.served_model or "", self._key) or None
            error.usage = reader.reply.usage
            raise

    async def get(self, path: str) -> object:
        """The JSON value at `path`. Raises ProviderError."""
        response = await self._send("GET", path, self._get_headers)
        try:
            await _check(response)
            return await _json(response)
        finally:
            await _close(response)

    async def aclose(self) -> None:
        """Close every connection."""
        await self._transport.aclose()

    async def _send(self, method: str, path: str, headers: httpx.Headers, content: bytes = b"") -> httpx.Response:
        """Send a request and return the reply with an unread body; the caller must `_close` it."""
        url = self._urls.get(path) or self._urls.setdefault(path, httpx.URL(self._base_url + path))
        # Passed as a stream, else httpx would compute headers that aiohttp computes anyway.
        body = httpx.ByteStream(content)
        request = httpx.Request(method, url, headers=headers, stream=body, extensions=_CONNECT_TIMEOUT)
        request.read()
        with _map_errors():
            return await self._transport.handle_async_request(request)


async def _close(response: httpx.Response) -> None:
    """Release the connection for reuse, or close it if the body was not read to its end."""
    with suppress(*BROKEN_CONNECTION):
        await response.aclose()


@cache
def _tls_context() -> ssl.SSLContext:
    return httpx.create_ssl_context(trust_env=False)


def _session(*, use_proxy_env: bool) -> aiohttp.ClientSession:
    """A session without a connection limit, because a wrapper (`ConcurrencyLimit`) limits concurrent calls."""
    connector = aiohttp.TCPConnector(limit=0, ssl=_tls_context(), keepalive_timeout=KEEP_ALIVE_SECONDS)
    return aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar(), trust_env=use_proxy_env)


@contextmanager
def _map_errors() -> Generator[None]:
    """Turn the exceptions of the HTTP libraries into ProviderError; only this function does so."""
    try:
        yield
    except BROKEN_CONNECTION as error:
        reason = next(REASON_OF_ERROR[kind] for kind in type(error).__mro__ if kind in REASON_OF_ERROR)
        untrusted = isinstance(error.__cause__, aiohttp.ClientSSLError)
        detail = "the reply is not proper HTTP" if reason is Reason.MALFORMED else str(error)
        should_retry = False if untrusted else None
        raise ProviderError(reason, detail, should_retry=should_retry, reached=_may_have_been_sent(error)) from error


def _may_have_been_sent(error: Exception) -> bool:
    """Whether the request may have reached a server.

    The transport raises a timeout for a refused connection, so the cause of the error is checked, too.
    """
    return not isinstance(error, NEVER_SENT) and not isinstance(error.__cause__, aiohttp.ClientConnectorError)


async def _read_reply(response: httpx.Response, reader: ReplyReader, on_text: OnText) -> None:
    """Read a reply into `reader`, either as a stream or as one JSON body."""
    match _content_type(response):
        case "text/event-stream" | "":
            await _read_events(response, reader, on_text)
        case "application/json":
            if text := reader.whole(await _json(response)):
                on_text(text)
        case other:
            raise ProviderError(Reason.MALFORMED, f"content type {other}")


async def _check(response: httpx.Response) -> None:
    """Raise ProviderError for a redirect, an error or a compressed body (it could be a decompression bomb)."""
    if response.status_code >= 400:
        raise error_from_response(response.status_code, response.headers, await _error_text(response), now=time.time())
    if response.status_code >= 300:
        raise error_from_redirect(response.status_code, response.headers.get("location", ""))
    if _encoding(response):
        raise ProviderError(Reason.MALFORMED, f"content encoding {_encoding(response)}, which was not asked for")


async def _read_events(response: httpx.Response, reader: ReplyReader, on_text: OnText) -> None:
    """Read a stream up to its end marker. If it breaks before, the reader decides what the received part is worth."""
    chunks = aiter(_chunks(response))
    splitter, size = EventSplitter(), 0
    while not reader.reply.ended and (chunk := await _next(chunks)):
        size += len(chunk)
        if size > MAX_STREAM:
            raise ProviderError(Reason.TOO_LARGE, f"a stream of more than {MAX_STREAM:,} bytes")
        if events := splitter.feed(chunk):
            reader.reply.report("".join([reader.feed(data) for _, data in events]), on_text)
        # Buffered chunks arrive without a wait, so without this a cancel would not take effect.
        await anyio.lowlevel.checkpoint_if_cancelled()
    with anyio.move_on_after(DRAIN_SECONDS):
        while await _next(chunks):
            pass


def _chunks(response: httpx.Response) -> AsyncIterable[bytes]:
    """The body directly from the transport: httpx would count and split it again."""
    assert isinstance(response.stream, httpx.AsyncByteStream)
    return response.stream


async def _next(chunks: AsyncIterator[bytes]) -> bytes:
    """The next bytes of a body; empty at its end, also if the connection broke."""
    try:
        return await anext(chunks, b"")
    except BROKEN_CONNECTION:
        return b""


async def _json(response: httpx.Response) -> object:
    body = await _body(response)
    if len(body) > MAX_BODY:
        raise ProviderError(Reason.TOO_LARGE, f"a body of more than {MAX_BODY:,} bytes")
    return parse(body.decode("utf-8", "replace"))


async def _body(response: httpx.Response) -> bytes:
    """The body. Reading stops as soon as it is larger than MAX_BODY."""
    body = bytearray()
    with _map_errors():
        async for chunk in _chunks(response):
            body += chunk
            if len(body) > MAX_BODY:
                break
    return bytes(body)


async def _error_text(response: httpx.Response) -> object:
    """The content of an error reply: JSON, else text; empty for an HTML page or a compressed or broken body."""
    body = b""
    if "html" not in _content_type(response) and not _encoding(response):
        with suppress(ProviderError), anyio.move_on_after(REFUSAL_SECONDS):
            body = await _body(response)
    text = body.decode("utf-8", "replace")
    try:
        return parse(text)
    except ProviderError:
        return text


def _content_type(response: httpx.Response) -> str:
    header: str = response.headers.get("content-type", "")
    return header.partition(";")[0].strip().lower()


def _encoding(response: httpx.Response) -> str:
    header: str = response.headers.get("content-encoding", "")
    encoding = header.strip().lower()
    return "" if encoding == "identity" else encoding
