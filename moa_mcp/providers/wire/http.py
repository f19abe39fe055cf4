"""The HTTP client: one per endpoint, with replies read as they arrive.

Only this module and `route.py` use httpx. Import them when the first call is made, because httpx and aiohttp take
0.3 s to load. Time limits, concurrency limits and prices are not handled here; each is a wrapper around a provider.
"""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterable, AsyncIterator, Collection, Generator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from math import inf
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
from moa_mcp.providers.dialects.json_access import first_words, parse, parse_or_text
from moa_mcp.providers.dialects.reader import ReplyReader, read_end, read_events
from moa_mcp.providers.loop_guard import HEADERS
from moa_mcp.providers.notices import ReplyBegun, report
from moa_mcp.providers.wire.decoding import decoded
from moa_mcp.providers.wire.keys import redact_key
from moa_mcp.providers.wire.route import Route, proxy_of, tls_error
from moa_mcp.providers.wire.sse import EventSplitter

CONNECT_SECONDS = 10
FINISH_SECONDS = 1.0
"""Time for the usage and the end marker to arrive after a finish reason."""
DRAIN_SECONDS = 0.2
"""Time to read the rest of the body after the answer is complete, so that the connection can be reused."""
REFUSAL_SECONDS = 2
"""Time to read the body of an error reply; its status is the most important part."""

MAX_BODY = 2 * 1024 * 1024
"""The most bytes of a body that is not a stream."""
MAX_LIST = 16 * 1024 * 1024
"""The most bytes of a list of models. OpenRouter's has a page of text about each of its hundreds."""
MAX_STREAM = 64 * 1024 * 1024
"""The most bytes of a stream. A token takes about 300 bytes, so the longest answers are far below it. The limit of
the text itself is `reply_builder.MAX_TEXT`."""

EMPTY_BODY = "the body is empty; some servers reply like this to messages that exceed the model's context"

_BLANK = b" \t\r\n\xef\xbb\xbf"
"""White space, and the bytes of a byte order mark."""

_PAGE = re.compile(r"<(?:!doctype html|html|head|title|body|center|h1)\b", re.IGNORECASE)
_STREAM = (b"data:", b"event:", b"error:")

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

    def __init__(self, route: Route, headers: Mapping[str, str], secrets: Collection[str] = ()) -> None:
        self._route = route
        self._secrets = tuple(secrets)
        # Made once: making the headers for each call would be a tenth of the cost of a call.
        fixed = {"user-agent": "moa-mcp", "accept-encoding": "identity"}
        self._get_headers = httpx.Headers({**fixed, "accept": "application/json", **HEADERS, **headers})
        accepted = {"accept": "text/event-stream, application/json", "content-type": "application/json"}
        self._post_headers = httpx.Headers({**fixed, **accepted, **HEADERS, **headers})
        self._urls: dict[str, httpx.URL] = {}
        context = route.context
        self._transport = AiohttpTransport(context, proxy=proxy_of(route), client=partial(route.connect, context))

    async def stream(self, path: str, body: Mapping[str, Any], reader: ReplyReader, on_text: OnText) -> Draft:
        """Post a request and read the reply to its end. Raises ProviderError, with the key redacted."""
        answered = False
        try:
            response = await self._send("POST", self._url(path), self._post_headers, to_json(body))
            try:
                await _check(response)
                answered = True
                reader.reply.note_headers(response.headers)
                await read_reply(response, reader, on_text)
            finally:
                await _close(response)
            return reader.reply.draft()
        except ProviderError as error:
            self._clean(error)
            error.sent_text = reader.reply.has_text
            error.reached = error.reached or answered
            error.served_model = redact_key(reader.reply.served_model or "", *self._secrets) or None
            error.usage = reader.reply.usage
            raise

    async def get(self, path: str, *, from_root: bool = False) -> object:
        """The JSON value at `path` of the base URL, or of the origin. Raises ProviderError, with the key redacted."""
        url = httpx.URL(self._route.url).join(path) if from_root else self._url(path)
        try:
            response = await self._send("GET", url, self._get_headers)
            try:
                await _check(response)
                return parse(_text(await _body(aiter(_content(response)), limit=MAX_LIST)))
            finally:
                await _close(response)
        except ProviderError as error:
            self._clean(error)
            raise

    async def aclose(self) -> None:
        """Close every connection."""
        await self._transport.aclose()

    def _clean(self, error: ProviderError) -> None:
        """Redact the key in an error. A proxy that is set and not used may be why the provider cannot be reached."""
        if error.reason is Reason.CONNECTION and not error.reached and self._route.unused_proxy is not None:
            error.detail += f"; {self._route.unused_proxy} is set, but network.use_proxy_env is not"
        error.detail = redact_key(error.detail, *self._secrets)

    async def _send(self, method: str, url: httpx.URL, headers: httpx.Headers, content: bytes = b"") -> httpx.Response:
        """Send a request and return the reply with an unread body; the caller must `_close` it."""
        # Passed as a stream, else httpx would compute headers that aiohttp computes anyway.
        body = httpx.ByteStream(content)
        request = httpx.Request(method, url, headers=headers, stream=body, extensions=_CONNECT_TIMEOUT)
        request.read()
        with _map_errors():
            return await self._transport.handle_async_request(request)

    def _url(self, path: str) -> httpx.URL:
        if path not in self._urls:
            query = self._route.query.replace("?", "&", 1) if "?" in path else self._route.query
            self._urls[path] = httpx.URL(self._route.url + path + query)
        return self._urls[path]


async def _close(response: httpx.Response) -> None:
    """Release the connection for reuse, or close it if the body was not read to its end."""
    with suppress(*BROKEN_CONNECTION):
        await response.aclose()


@contextmanager
def _map_errors() -> Generator[None]:
    """Turn the exceptions of the HTTP libraries into ProviderError; only this function does so."""
    try:
        yield
    except BROKEN_CONNECTION as error:
        if isinstance(error.__cause__, aiohttp.ClientSSLError):
            raise tls_error(error.__cause__) from error
        reason = next(REASON_OF_ERROR[kind] for kind in type(error).__mro__ if kind in REASON_OF_ERROR)
        detail = "the reply is not proper HTTP" if reason is Reason.MALFORMED else str(error)
        raise ProviderError(reason, detail, reached=_may_have_been_sent(error)) from error


def _may_have_been_sent(error: Exception) -> bool:
    """Whether the request may have reached a server.

    The transport raises a timeout for a refused connection, so the cause of the error is checked, too.
    """
    return not isinstance(error, NEVER_SENT) and not isinstance(error.__cause__, aiohttp.ClientConnectorError)


async def read_reply(response: httpx.Response, reader: ReplyReader, on_text: OnText) -> None:
    """Read a reply into `reader`. Its first bytes, not its content type, say whether it is a stream or JSON."""
    chunks = aiter(_content(response))
    opening = await _opening(chunks)
    if not opening:
        raise ProviderError(Reason.CUT, EMPTY_BODY)
    if opening.startswith(b"<"):
        raise ProviderError(Reason.MALFORMED, "a page of HTML or XML")
    is_json = opening.startswith((b"{", b"["))
    report(ReplyBegun(is_stream=not is_json))
    if is_json:
        if text := reader.whole(parse(_text(await _body(chunks, opening)))):
            on_text(text)
    else:
        await _read_events(opening, chunks, reader, on_text)


async def _opening(chunks: AsyncIterator[bytes]) -> bytes:
    """The first bytes of a body that are not blank, up to the end of their chunk; empty if there are none.

    Servers send blanks to keep a connection alive until their JSON is ready.
    """
    blank = 0
    while chunk := await _next(chunks):
        if opening := chunk.lstrip(_BLANK):
            return opening
        blank += len(chunk)
        if blank > MAX_BODY:
            raise ProviderError(Reason.TOO_LARGE, f"more than {MAX_BODY:,} blanks")
        await anyio.lowlevel.checkpoint_if_cancelled()
    return b""


async def _check(response: httpx.Response) -> None:
    """Raise ProviderError for a redirect or an error."""
    if response.status_code >= 400:
        raise error_from_response(response.status_code, response.headers, await _error_text(response), now=time.time())
    if response.status_code >= 300:
        raise error_from_redirect(response.status_code, response.headers.get("location", ""))


async def _read_events(opening: bytes, chunks: AsyncIterator[bytes], reader: ReplyReader, on_text: OnText) -> None:
    """Read a stream up to its end marker, or up to its end. The reader decides what a part is worth.

    After a finish reason, the end marker and the usage have FINISH_SECONDS to arrive: some servers send neither, and
    leave the connection open.
    """
    reply, splitter = reader.reply, EventSplitter()
    chunk, size, until = opening, 0, inf
    while chunk:
        size += len(chunk)
        if size > MAX_STREAM:
            raise ProviderError(Reason.TOO_LARGE, f"a stream of more than {MAX_STREAM:,} bytes")
        text = ""
        if events := splitter.feed(chunk):
            text = read_events(reader, events, partial(reply.report, on_text=on_text))
        if reply.ended:
            await _drain(chunks)
            return
        # Buffered chunks arrive without a wait, so without this a cancel would not take effect.
        await anyio.lowlevel.checkpoint_if_cancelled()
        if reply.finish_reason and (text or until == inf):
            until = anyio.current_time() + FINISH_SECONDS
        chunk = await _next(chunks, until)
    read_end(reader, splitter.close(), on_text)
    if splitter.stray and not reply.ended and not reply.has_text:
        raise ProviderError(Reason.MALFORMED, f"not a stream: {first_words(_text(splitter.stray))}")


async def _drain(chunks: AsyncIterator[bytes]) -> None:
    until = anyio.current_time() + DRAIN_SECONDS
    while await _next(chunks, until):
        pass


def _content(response: httpx.Response) -> AsyncIterable[bytes]:
    """The decoded body, directly from the transport: httpx would count and split it again."""
    assert isinstance(response.stream, httpx.AsyncByteStream)
    encoding: str = response.headers.get("content-encoding", "").strip().lower()
    return decoded(response.stream, encoding) if encoding else response.stream


async def _next(chunks: AsyncIterator[bytes], until: float = inf) -> bytes:
    """The next bytes of a body; empty at its end, at the time `until`, or if the connection broke."""
    try:
        if until == inf:
            return await anext(chunks, b"")
        with anyio.CancelScope(deadline=until):
            return await anext(chunks, b"")
    except BROKEN_CONNECTION:
        pass
    return b""


async def _body(chunks: AsyncIterator[bytes], opening: bytes = b"", limit: int = MAX_BODY) -> bytes:
    """The whole of a body that is not a stream. Raises ProviderError."""
    body = bytearray(opening)
    with _map_errors():
        async for chunk in chunks:
            body += chunk
            if len(body) > limit:
                raise ProviderError(Reason.TOO_LARGE, f"a body of more than {limit:,} bytes")
    return bytes(body)


async def _error_text(response: httpx.Response) -> object:
    """The content of an error reply: JSON, also in an event, else text; empty for a page or an unreadable body."""
    text = ""
    with suppress(ProviderError), anyio.move_on_after(REFUSAL_SECONDS):
        body = await _body(aiter(_content(response)))
        text = _text(body).lstrip()
        if body.lstrip().startswith(_STREAM):
            splitter = EventSplitter()
            text = next((data for _, data in (*splitter.feed(body), *splitter.close())), text)
    return "" if text.startswith("<") and _PAGE.search(text[:300]) else parse_or_text(text)


def _text(body: bytes) -> str:
    return body.decode("utf-8-sig", "replace")
