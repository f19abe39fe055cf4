"""Everything that can go wrong with an answer, as values: what the upstream does instead of answering well.

Where a fault strikes inside a stream, `after` is how many deltas of the text arrive before it, and `reply` is
the answer that was on its way. Such a fault streams even when no stream was asked for.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import chain, repeat
from typing import Any

from tests.upstream.render import COMMENT, paced, reply_steps, waited, wire_of
from tests.upstream.reply import Reply
from tests.upstream.request import Request
from tests.upstream.steps import (
    CHUNKED,
    LAST_CHUNK,
    SSE,
    End,
    Step,
    chunk,
    chunked,
    head,
    json_response,
    packed,
    whole,
)
from tests.upstream.wire import Event, Part

Act = Callable[[Request], Iterable[Step]]

_REPLY = Reply()
_HTML = b"<!doctype html><html><head><title>Bad gateway</title></head><body><h1>Bad gateway</h1></body></html>"
_MEBIBYTE = 1 << 20


@dataclass(frozen=True, slots=True)
class Fault:
    """A misbehaviour with a name; `act` gives its steps for a request."""

    name: str
    act: Act = field(repr=False)

    @staticmethod
    def status(
        status: int,
        *,
        message: str = "This request was refused on purpose.",
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
        body: Any = None,
    ) -> Fault:
        """An HTTP error in the dialect's own JSON.

        `code` is the provider's own word beside the status; a `body` is sent as the JSON instead.
        """

        def act(request: Request) -> Iterator[Step]:
            value = body if body is not None else wire_of(request).error(status, message, code)
            yield json_response(status, value, headers or {})

        return Fault(f"status {status}", act)

    @staticmethod
    def redirect(url: str, status: int = 307) -> Fault:
        """A redirect to `url`."""
        return Fault(f"redirect {status}", lambda _: [whole(status, b"", {"location": url})])

    @staticmethod
    def html() -> Fault:
        """A proxy's HTML page, with status 200."""
        return Fault("html", lambda _: [whole(200, _HTML, {"content-type": "text/html; charset=utf-8"})])

    @staticmethod
    def half_json() -> Fault:
        """Status 200 with JSON that breaks off, in a body that is as long as announced."""
        broken = b'{"id": "broken", "choices": [{"mess'
        return Fault("half json", lambda _: [whole(200, broken, {"content-type": "application/json"})])

    @staticmethod
    def empty_body() -> Fault:
        """Status 200 and not one byte of body."""
        return Fault("empty body", lambda _: [whole(200, b"", SSE)])

    @staticmethod
    def error_in_body(status: int = 500, *, message: str = "Broken on purpose.", code: str | None = None) -> Fault:
        """Status 200 with a JSON error object, such as `status` would have carried."""

        def act(request: Request) -> Iterator[Step]:
            yield json_response(200, wire_of(request).error(status, message, code))

        return Fault("error in body", act)

    @staticmethod
    def error_event(
        after: int = 1,
        *,
        status: int = 529,
        message: str = "Overloaded on purpose.",
        code: str | None = None,
        reply: Reply = _REPLY,
    ) -> Fault:
        """An error in the stream, such as `status` would have carried; then the stream ends."""

        def act(request: Request) -> Iterator[Step]:
            yield from _begun(request, reply, after)
            yield chunk(wire_of(request).error_event(status, message, code))
            yield LAST_CHUNK

        return Fault("error event", _written(act, reply))

    @staticmethod
    def malformed_event(after: int = 1, reply: Reply = _REPLY) -> Fault:
        """An event whose JSON breaks off, where the rest of the stream is well."""
        broken = b'data: {"id":"broken","choices":[{"ind\n\n'

        def spoilt(request: Request) -> Iterator[Event]:
            before, rest = _parted(wire_of(request).events(request, reply), after)
            yield from [*before, Event(Part.FINISH, broken), *rest]

        return Fault("malformed event", _of_events(spoilt, reply))

    @staticmethod
    def no_choices() -> Fault:
        """A complete answer with no content at all: `choices: []`, or for Anthropic no content block."""
        return Fault("no choices", _no_choices)

    @staticmethod
    def reset(after: int | None = None, reply: Reply = _REPLY) -> Fault:
        """An RST: before any byte, or after some deltas."""
        return _ended("reset", End.RESET, after, reply)

    @staticmethod
    def close(after: int | None = None, reply: Reply = _REPLY) -> Fault:
        """A FIN: before any byte, or between two chunks after some deltas."""
        return _ended("close", End.CLOSE, after, reply)

    @staticmethod
    def hang(after: int | None = None, reply: Reply = _REPLY) -> Fault:
        """Silence until the client leaves: before any byte, or after some deltas."""
        return _ended("hang", End.HANG, after, reply)

    @staticmethod
    def close_mid_chunk(after: int = 1, reply: Reply = _REPLY) -> Fault:
        """A FIN in the middle of a chunk."""

        def act(request: Request) -> Iterator[Step]:
            yield from _begun(request, reply, after)
            yield b"40\r\ndata: {"
            yield End.CLOSE

        return Fault("close mid chunk", _written(act, reply))

    @staticmethod
    def cut(after: int = 1, reply: Reply = _REPLY) -> Fault:
        """A body that ends with the connection, cut short: on the wire nothing tells it from a whole one."""

        def act(request: Request) -> Iterator[Step]:
            yield head(200, SSE, {"connection": "close"}, reply.headers)
            yield from _paced_up_to(request, reply, after)
            yield End.CLOSE

        return Fault("cut", _written(act, reply))

    @staticmethod
    def wrong_content_length(by: int = 100, reply: Reply = _REPLY) -> Fault:
        """A stream whose Content-Length promises `by` more bytes than come (fewer, when negative)."""

        def act(request: Request) -> Iterator[Step]:
            body = b"".join(event.data for event in wire_of(request).events(request, reply))
            yield head(200, SSE, {"content-length": str(len(body) + by)}, reply.headers)
            yield body
            yield End.CLOSE

        return Fault("wrong content-length", _written(act, reply))

    @staticmethod
    def drip_comments(every: float = 0.05) -> Fault:
        """Keep-alive comments for ever, one each `every` seconds, and never an event."""
        opening = head(200, SSE, CHUNKED)
        return Fault("drip comments", lambda _: chain([opening], _drip(repeat(chunk(COMMENT)), every)))

    @staticmethod
    def drip_headers(every: float = 0.05) -> Fault:
        """A header that never ends, one byte each `every` seconds."""
        opening = b"HTTP/1.1 200 OK\r\nx-drip: "
        return Fault("drip headers", lambda _: chain([opening], _drip(repeat(b"a"), every)))

    @staticmethod
    def endless_tokens(every: float = 0, text: str = "and so on, ") -> Fault:
        """Deltas for ever, as fast as they are read or one each `every` seconds."""

        def act(request: Request) -> Iterator[Step]:
            piece = chunk(wire_of(request).piece(request, _REPLY, text).data)
            yield from _begun(request, _REPLY, 0)
            yield from packed(_drip(repeat(piece), every))

        return Fault("endless tokens", act)

    @staticmethod
    def endless_line() -> Fault:
        """One event line that never ends, as fast as it is read."""
        filler = chunk(b"a" * 65536)

        def act(request: Request) -> Iterator[Step]:
            yield from _begun(request, _REPLY, 0)
            yield chunk(b'data: {"id":"')
            yield from repeat(filler)

        return Fault("endless line", act)

    @staticmethod
    def gzip_bomb(mebibytes: int = 1024) -> Fault:
        """Spaces, gzipped though nobody accepts gzip: about 1 KiB on the wire for each MiB."""
        opening = head(200, SSE, CHUNKED, {"content-encoding": "gzip"})
        return Fault("gzip bomb", lambda _: packed(chain([opening], chunked(_bomb(mebibytes)), [LAST_CHUNK])))

    @staticmethod
    def without_end(reply: Reply = _REPLY) -> Fault:
        """A stream with a finish reason that ends in good order but without `[DONE]` or `message_stop`."""

        def unended(request: Request) -> Iterator[Event]:
            events = wire_of(request).events(request, reply)
            return (event for event in events if event.part is not Part.END)

        return Fault("without end", _of_events(unended, reply))

    @staticmethod
    def without_finish(reply: Reply = _REPLY) -> Fault:
        """A stream that ends with `[DONE]` or `message_stop` but never gave a finish reason."""
        return _answering("without finish", replace(reply, finish_reason=None))

    @staticmethod
    def no_usage(reply: Reply = _REPLY) -> Fault:
        """An answer that says nothing of tokens."""
        return _answering("no usage", replace(reply, input_tokens=None, output_tokens=None))

    @staticmethod
    def absurd_usage(input_tokens: int = -5, output_tokens: int = 10**15, reply: Reply = _REPLY) -> Fault:
        """An answer whose token counts cannot be."""
        return _answering("absurd usage", replace(reply, input_tokens=input_tokens, output_tokens=output_tokens))

    @staticmethod
    def tool_calls(reply: Reply = _REPLY) -> Fault:
        """An answer that calls a tool though none was offered."""
        return _answering("tool calls", replace(reply, finish_reason="tool_calls"))


def _answering(name: str, reply: Reply) -> Fault:
    return Fault(name, lambda request: reply_steps(request, reply))


def _ended(name: str, end: End, after: int | None, reply: Reply) -> Fault:
    if after is None:
        return Fault(name, lambda _: chain(waited(reply.delay), [end]))
    return Fault(f"{name} after {after}", _written(lambda request: chain(_begun(request, reply, after), [end]), reply))


def _written(act: Act, reply: Reply) -> Act:
    return lambda request: packed(chain(waited(reply.delay), act(request)), reply.split)


def _of_events(events: Callable[[Request], Iterator[Event]], reply: Reply) -> Act:
    opening = head(200, SSE, CHUNKED, reply.headers)
    return _written(lambda request: chain([opening], chunked(paced(events(request), reply)), [LAST_CHUNK]), reply)


def _begun(request: Request, reply: Reply, after: int) -> Iterator[Step]:
    """The head of a stream and its events up to and with the `after`-th delta of the text."""
    yield head(200, SSE, CHUNKED, reply.headers)
    yield from chunked(_paced_up_to(request, reply, after))


def _paced_up_to(request: Request, reply: Reply, after: int) -> Iterator[Step]:
    before, _ = _parted(wire_of(request).events(request, reply), after)
    return paced(before, reply)


def _parted(events: Iterable[Event], after: int) -> tuple[list[Event], list[Event]]:
    """Part events behind the `after`-th delta of the text, or before the finish when there are fewer."""
    events, seen = list(events), 0
    for index, event in enumerate(events):
        seen += event.part is Part.PIECE
        if seen > after or event.part in (Part.FINISH, Part.END):
            return events[:index], events[index:]
    return events, []


def _drip(data: Iterable[bytes], every: float) -> Iterator[Step]:
    for each in data:
        yield from waited(every)
        yield each


def _no_choices(request: Request) -> Iterable[Step]:
    wire = wire_of(request)
    if request.body.get("stream"):
        return _of_events(lambda request: wire.hollow_events(request, _REPLY), _REPLY)(request)
    return [json_response(200, wire.hollow_body(request, _REPLY))]


def _bomb(mebibytes: int) -> Iterator[bytes]:
    """Give one gzip member. A full flush makes the deflated block stand alone, so it can be repeated."""
    spaces = b" " * _MEBIBYTE
    deflate = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    block = deflate.compress(spaces) + deflate.flush(zlib.Z_FULL_FLUSH)
    checksum = 0
    yield bytes.fromhex("1f8b08000000000000ff")
    for _ in range(mebibytes):
        checksum = zlib.crc32(spaces, checksum)
        yield block
    size = mebibytes * _MEBIBYTE % 2**32
    yield b"\x03\x00" + checksum.to_bytes(4, "little") + size.to_bytes(4, "little")
