"""The chat completions dialect of OpenAI and its many compatible servers, as bytes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tests.upstream.reply import Reply
from tests.upstream.request import Request
from tests.upstream.steps import as_json
from tests.upstream.wire import Event, Part

_CREATED = 1_700_000_000  # one moment for ever, so that the same reply is the same bytes
_DONE = b"data: [DONE]\n\n"

_KINDS = {
    401: ("invalid_request_error", "invalid_api_key"),
    402: ("insufficient_quota", "insufficient_quota"),
    404: ("invalid_request_error", "model_not_found"),
    429: ("rate_limit_error", "rate_limit_exceeded"),
    503: ("service_unavailable_error", "server_is_overloaded"),
}


class OpenAIWire:
    """Chunks in unnamed events; `reasoning_content` beside `content`; `[DONE]` at the end."""

    def events(self, request: Request, reply: Reply) -> Iterator[Event]:
        opening = {"role": "assistant", "content": "", "refusal": None}
        yield Event(Part.OPENING, _delta(request, reply, opening))
        for thought in reply.thoughts:
            yield Event(Part.THOUGHT, _delta(request, reply, {"reasoning_content": thought}))
        for text in reply.deltas:
            yield self.piece(request, reply, text)
        yield from _finish(request, reply)
        yield Event(Part.END, _DONE)

    def piece(self, request: Request, reply: Reply, text: str) -> Event:
        return Event(Part.PIECE, _delta(request, reply, {"content": text}))

    def body(self, request: Request, reply: Reply) -> dict[str, Any]:
        message: dict[str, Any] = {"role": "assistant", "content": "".join(reply.deltas)}
        message["refusal"] = reply.refusal or None
        if reply.thinking:
            message["reasoning_content"] = reply.thinking
        if reply.finish_reason == "tool_calls":
            message["tool_calls"] = [_tool_call()]
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": reply.finish_reason}
        usage = {"usage": _usage(reply)} if reply.usage else {}
        return {**_top(request, reply, "chat.completion"), "choices": [choice], **usage}

    def hollow_events(self, request: Request, reply: Reply) -> Iterator[Event]:
        chunk: dict[str, Any] = {**_top(request, reply, "chat.completion.chunk"), "choices": []}
        return iter((Event(Part.OPENING, _event(chunk)), Event(Part.END, _DONE)))

    def hollow_body(self, request: Request, reply: Reply) -> dict[str, Any]:
        return {**self.body(request, reply), "choices": []}

    def error(self, status: int, message: str, code: str | None) -> dict[str, Any]:
        default = "server_error" if status >= 500 else "invalid_request_error"
        kind, known = _KINDS.get(status, (default, None))
        return {"error": {"message": message, "type": kind, "param": None, "code": code or known}}

    def error_event(self, status: int, message: str, code: str | None) -> bytes:
        return _event(self.error(status, message, code))


def _finish(request: Request, reply: Reply) -> Iterator[Event]:
    if reply.refusal:
        yield Event(Part.FINISH, _delta(request, reply, {"refusal": reply.refusal}))
    if reply.finish_reason == "tool_calls":
        yield Event(Part.FINISH, _delta(request, reply, {"tool_calls": [{"index": 0, **_tool_call()}]}))
    if reply.finish_reason is not None:
        yield Event(Part.FINISH, _delta(request, reply, {}, reply.finish_reason))
    if reply.usage and _wants_usage(request):
        top = _top(request, reply, "chat.completion.chunk")
        yield Event(Part.FINISH, _event({**top, "choices": [], "usage": _usage(reply)}))


def _delta(request: Request, reply: Reply, delta: dict[str, Any], finish_reason: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
    usage = {"usage": None} if _wants_usage(request) else {}
    return _event({**_top(request, reply, "chat.completion.chunk"), "choices": [choice], **usage})


def _event(value: dict[str, Any]) -> bytes:
    return b"data: %b\n\n" % as_json(value)


def _top(request: Request, reply: Reply, kind: str) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-{request.number}",
        "object": kind,
        "created": _CREATED,
        "model": request.model if reply.model is None else reply.model,
        "system_fingerprint": None,
    }


def _usage(reply: Reply) -> Mapping[str, Any]:
    if reply.usage_report is not None:
        return reply.usage_report
    prompt, completion = reply.usage or (0, 0)
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def _tool_call() -> dict[str, Any]:
    return {"id": "call_1", "type": "function", "function": {"name": "look_up", "arguments": "{}"}}


def _wants_usage(request: Request) -> bool:
    options: dict[str, Any] = request.body.get("stream_options") or {}
    return bool(options.get("include_usage"))
