"""The messages dialect of Anthropic, as bytes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.upstream.reply import Reply
from tests.upstream.request import Request
from tests.upstream.steps import as_json
from tests.upstream.wire import Event, Part

_STOP_REASONS = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "refusal",
}

_KINDS = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    409: "conflict_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}


class AnthropicWire:
    """Named events around content blocks: thinking first when there is any, then the text."""

    def events(self, request: Request, reply: Reply) -> Iterator[Event]:
        yield _opening({"type": "message_start", "message": _empty_message(request, reply)})
        if reply.thinking:
            yield from _thinking(reply)
        yield _opening(_block_start(_text_block(reply), {"type": "text", "text": ""}))
        yield _opening({"type": "ping"})
        for text in reply.deltas:
            yield self.piece(request, reply, text)
        yield from _finish(reply)
        yield Event(Part.END, _event({"type": "message_stop"}))

    def piece(self, request: Request, reply: Reply, text: str) -> Event:
        delta = {"type": "text_delta", "text": text}
        return Event(Part.PIECE, _event(_block_delta(_text_block(reply), delta)))

    def body(self, request: Request, reply: Reply) -> dict[str, Any]:
        content: list[dict[str, Any]] = [{"type": "text", "text": "".join(reply.deltas)}]
        if reply.thinking:
            content.insert(0, {"type": "thinking", "thinking": reply.thinking, "signature": "c2lnbmVk"})
        if reply.finish_reason == "tool_calls":
            content.append(_tool_use())
        message = _empty_message(request, reply)
        message |= {"content": content, **_message_delta(reply)["delta"]}
        if reply.usage:
            message["usage"] = {**message["usage"], **_message_delta(reply)["usage"]}
        return message

    def hollow_events(self, request: Request, reply: Reply) -> Iterator[Event]:
        yield _opening({"type": "message_start", "message": _empty_message(request, reply)})
        yield Event(Part.FINISH, _event(_message_delta(reply)))
        yield Event(Part.END, _event({"type": "message_stop"}))

    def hollow_body(self, request: Request, reply: Reply) -> dict[str, Any]:
        return {**self.body(request, reply), "content": []}

    def error(self, status: int, message: str, code: str | None) -> dict[str, Any]:
        kind = _KINDS.get(status, "api_error" if status >= 500 else "invalid_request_error")
        details = {"details": {"error_code": code}} if code else {}
        return {
            "type": "error",
            "error": {"type": kind, "message": message, **details},
            "request_id": "req_1",
        }

    def error_event(self, status: int, message: str, code: str | None) -> bytes:
        return _event(self.error(status, message, code))


def _thinking(reply: Reply) -> Iterator[Event]:
    yield _opening(_block_start(0, {"type": "thinking", "thinking": "", "signature": ""}))
    for thought in reply.thoughts:
        delta = {"type": "thinking_delta", "thinking": thought}
        yield Event(Part.THOUGHT, _event(_block_delta(0, delta)))
    yield _opening(_block_delta(0, {"type": "signature_delta", "signature": "c2lnbmVk"}))
    yield _opening({"type": "content_block_stop", "index": 0})


def _finish(reply: Reply) -> Iterator[Event]:
    text_block = _text_block(reply)
    values: list[dict[str, Any]] = [{"type": "content_block_stop", "index": text_block}]
    if reply.finish_reason == "tool_calls":
        values += _tool_use_block(text_block + 1)
    if reply.finish_reason is not None or reply.usage:
        values.append(_message_delta(reply))
    return (Event(Part.FINISH, _event(value)) for value in values)


def _tool_use_block(index: int) -> list[dict[str, Any]]:
    return [
        _block_start(index, _tool_use()),
        _block_delta(index, {"type": "input_json_delta", "partial_json": "{}"}),
        {"type": "content_block_stop", "index": index},
    ]


def _message_delta(reply: Reply) -> dict[str, Any]:
    delta: dict[str, Any] = {"stop_reason": _stop_reason(reply), "stop_sequence": None}
    if reply.refusal:
        delta["stop_details"] = {"type": "refusal", "category": None, "explanation": reply.refusal}
    usage = {"usage": reply.usage_report or {"output_tokens": reply.usage[1]}} if reply.usage else {}
    return {"type": "message_delta", "delta": delta, **usage}


def _stop_reason(reply: Reply) -> str | None:
    return _STOP_REASONS.get(reply.finish_reason, reply.finish_reason) if reply.finish_reason else None


def _empty_message(request: Request, reply: Reply) -> dict[str, Any]:
    message: dict[str, Any] = {
        "id": f"msg_{request.number}",
        "type": "message",
        "role": "assistant",
        "content": [],
        "model": request.model if reply.model is None else reply.model,
        "stop_reason": None,
        "stop_sequence": None,
    }
    if reply.usage:
        cache = {"cache_creation_input_tokens": 0, "cache_read_input_tokens": 0}
        message["usage"] = reply.first_usage or {"input_tokens": reply.usage[0], **cache, "output_tokens": 1}
    return message


def _text_block(reply: Reply) -> int:
    return 1 if reply.thinking else 0


def _tool_use() -> dict[str, Any]:
    return {"type": "tool_use", "id": "toolu_1", "name": "look_up", "input": {}}


def _block_start(index: int, block: dict[str, Any]) -> dict[str, Any]:
    return {"type": "content_block_start", "index": index, "content_block": block}


def _block_delta(index: int, delta: dict[str, Any]) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": index, "delta": delta}


def _opening(value: dict[str, Any]) -> Event:
    return Event(Part.OPENING, _event(value))


def _event(value: dict[str, Any]) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (value["type"].encode(), as_json(value))
