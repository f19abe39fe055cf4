"""From a `Reply` to the steps that serve it, in whichever dialect the request's path speaks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any

from tests.upstream.anthropic_wire import AnthropicWire
from tests.upstream.embeddings import embeddings_body
from tests.upstream.openai_wire import OpenAIWire
from tests.upstream.reply import Reply
from tests.upstream.request import Request
from tests.upstream.steps import CHUNKED, LAST_CHUNK, SSE, Pause, Step, chunked, head, json_response, packed
from tests.upstream.wire import Event, Part, Wire

COMMENT = b": keep-alive\n\n"

_OPENAI = OpenAIWire()
_ANTHROPIC = AnthropicWire()


def wire_of(request: Request) -> Wire:
    """Choose the dialect by the path: `…/messages` is Anthropic's, every other path OpenAI's."""
    return _ANTHROPIC if request.path.endswith("/messages") else _OPENAI


def reply_steps(request: Request, reply: Reply) -> Iterator[Step]:
    """Serve a good answer, streamed when that was asked for."""
    steps = _streamed(request, reply) if _is_stream(request) else _at_once(request, reply)
    return packed(chain(waited(reply.delay), steps), reply.split)


def waited(seconds: float) -> Iterator[Step]:
    """Pause, when there is something to wait for."""
    if seconds:
        yield Pause(seconds)


def paced(events: Iterable[Event], reply: Reply) -> Iterator[Step]:
    """Put a reply's pauses and comments before its deltas."""
    for event in events:
        if event.part in (Part.THOUGHT, Part.PIECE):
            yield from waited(reply.delay_per_piece)
            yield from [COMMENT] * reply.comments
        yield event.data


def _is_stream(request: Request) -> bool:
    return bool(request.body.get("stream")) and not _is_embeddings(request)


def _is_embeddings(request: Request) -> bool:
    return request.path.endswith("/embeddings")


def _streamed(request: Request, reply: Reply) -> Iterator[Step]:
    yield head(reply.status, SSE, CHUNKED, _request_id(request), reply.headers)
    yield from chunked(paced(wire_of(request).events(request, reply), reply))
    yield LAST_CHUNK


def _at_once(request: Request, reply: Reply) -> Iterator[Step]:
    body: dict[str, Any]
    body = embeddings_body(request, reply) if _is_embeddings(request) else wire_of(request).body(request, reply)
    yield json_response(reply.status, body, _request_id(request), reply.headers)


def _request_id(request: Request) -> dict[str, str]:
    return {"x-request-id": f"req_{request.number}", "request-id": f"req_{request.number}"}
