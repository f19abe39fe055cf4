"""Siblings of the replies in `tests/data/wire.json`: each kind of behaviour on the wire, in both dialects."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.wire_replies import ANSWER, Case, head

FIRST, LAST = ANSWER[:12], ANSWER[12:]
ERROR = {"error": {"message": "upstream exploded", "code": 500}}
HELD_OPEN = 60.0
LATE = 0.3
"""Seconds by which a usage comes after the finish reason."""


def event(data: Any, name: str = "") -> bytes:
    """A server-sent event; `data` is a JSON value, or text that is sent as it is."""
    text = data if isinstance(data, str) else json.dumps(data)
    return f"{f'event: {name}' + chr(10) if name else ''}data: {text}\n\n".encode()


@dataclass(frozen=True, slots=True)
class OpenAI:
    """The events of the openai dialect."""

    name = "openai"
    end = event("[DONE]")
    usage = event({"choices": [], "usage": {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}})
    start = event({"model": "owl", "choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]})

    @staticmethod
    def text(text: str, **choice: Any) -> bytes:
        return event({"model": "owl", "choices": [{"index": 0, "delta": {"content": text}, **choice}]})

    @staticmethod
    def finish(reason: str = "stop") -> bytes:
        return event({"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]})

    @staticmethod
    def whole(reason: str = "stop") -> dict[str, Any]:
        message = {"role": "assistant", "content": ANSWER}
        usage = {"prompt_tokens": 11, "completion_tokens": 7}
        return {"model": "owl", "choices": [{"index": 0, "message": message, "finish_reason": reason}], "usage": usage}


@dataclass(frozen=True, slots=True)
class Anthropic:
    """The events of the anthropic dialect; its finish reason and its usage are one event."""

    name = "anthropic"
    end = event({"type": "message_stop"}, "message_stop")
    usage = b""
    start = event(
        {"type": "message_start", "message": {"model": "owl", "usage": {"input_tokens": 11, "output_tokens": 1}}}
    )

    @staticmethod
    def text(text: str) -> bytes:
        return event({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}})

    @staticmethod
    def finish(reason: str = "end_turn") -> bytes:
        return event({"type": "message_delta", "delta": {"stop_reason": reason}, "usage": {"output_tokens": 7}})

    @staticmethod
    def whole(reason: str = "end_turn") -> dict[str, Any]:
        content = [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": ANSWER}]
        usage = {"input_tokens": 11, "output_tokens": 7}
        return {"type": "message", "model": "owl", "content": content, "stop_reason": reason, "usage": usage}


Dialect = OpenAI | Anthropic
DIALECTS: tuple[Dialect, ...] = (OpenAI(), Anthropic())


def made_cases() -> list[Case]:
    """All cases that are made here."""
    kinds = (_ends, _after_the_end, _held_open, _bodies, _encodings, _errors, _framings, _texts, _unfinished)
    both = [
        Case(f"{kind.__name__.strip('_')}: {name}, {dialect.name}", dialect.name, right, reply)
        for dialect in DIALECTS
        for kind in kinds
        for name, right, reply in kind(dialect)
    ]
    alone = (*_done_elsewhere(), *_other_parts(), *_choices())
    return both + [Case(name, dialect, right, (head(), *body)) for name, dialect, right, body in alone]


Cases = Iterator[tuple[str, str, tuple[bytes | float, ...]]]
"""The name, the right outcome and the reply of each case."""


def _said(dialect: Dialect) -> bytes:
    """The events up to the last text."""
    return dialect.start + dialect.text(FIRST) + dialect.text(LAST)


def _stream(dialect: Dialect) -> bytes:
    return _said(dialect) + dialect.finish() + dialect.usage + dialect.end


def _chunked(body: bytes) -> bytes:
    return f"{len(body):x}\r\n".encode() + body + b"\r\n"


def _ends(dialect: Dialect) -> Cases:
    finished = _said(dialect) + dialect.finish() + dialect.usage
    chunked = head(transfer_encoding="chunked", connection="")
    yield "no marker", "the answer and its usage", (head(), finished)
    yield "no marker, chunked", "the answer and its usage", (chunked, _chunked(finished), b"0\r\n\r\n")
    yield "no marker, no last chunk", "the answer and its usage", (chunked, _chunked(finished))
    yield "no marker, broken chunk", "the answer and its usage", (chunked, _chunked(finished), b"40\r\ndata: {")
    yield "too short", "the answer", (head(content_length=str(len(finished) + 50)), finished)
    yield "marker without a blank line", "the answer", (head(), _stream(dialect)[:-1])
    yield "marker without a line end", "the answer", (head(), _stream(dialect)[:-2])
    yield "finish without a blank line", "the answer", (head(), _said(dialect) + dialect.finish()[:-2])
    yield "no finish reason", "the answer", (head(), _said(dialect) + dialect.end)
    yield "half a marker", "the answer", (head(), finished + dialect.end[:9])
    yield "neither", "cut", (head(), _said(dialect))
    yield "half a finish", "cut", (head(), _said(dialect) + dialect.finish()[:-9])
    yield "nothing", "failed: the body is empty", (head(),)
    yield "only blanks", "failed: the body is empty", (head(), b"\r\n \n")


def _after_the_end(dialect: Dialect) -> Cases:
    for name, late in {"text": dialect.text("LATE"), "an error": event(ERROR), "junk": event("junk")}.items():
        yield f"{name} at once", "the answer", (head(), _stream(dialect) + late)
        yield f"{name} later", "the answer", (head(), _stream(dialect), LATE / 10, late)


def _held_open(dialect: Dialect) -> Cases:
    finish = _said(dialect) + dialect.finish()
    yield "after the finish", "the answer", (head(), finish, HELD_OPEN)
    yield "with pings", "the answer", (head(), finish, *(0.4, b": ping\n\n") * 50)
    yield "late usage", "the answer and its usage", (head(), finish, LATE, dialect.usage, HELD_OPEN)
    yield "after the marker", "the answer and its usage", (head(), _stream(dialect), HELD_OPEN)
    early = dialect.start + dialect.text(FIRST) + dialect.finish()
    yield "text after a finish", "the answer", (head(), early, LATE, dialect.text(LAST), dialect.finish(), dialect.end)


def _bodies(dialect: Dialect) -> Cases:
    whole = json.dumps(dialect.whole()).encode()
    types = ("text/plain; charset=utf-8", "application/octet-stream", "application/x-ndjson", "text/event-stream", "")
    for content_type in (*types, "application/json", "text/html"):
        yield (
            f"stream as {content_type}",
            "the answer and its usage",
            (head(content_type=content_type), _stream(dialect)),
        )
        yield f"JSON as {content_type}", "the answer and its usage", (head(content_type=content_type), whole)
    lines = json.dumps(dialect.whole(), indent=1).encode()
    yield "JSON of many lines", "the answer", (head(), b"\r\n\n ", LATE / 10, b"\n" + lines + b"\n")
    yield "JSON with a mark", "the answer", (head(content_type="application/json"), b"\xef\xbb\xbf" + whole)
    yield "JSON as one event", "the answer and its usage", (head(), event(dialect.whole()) + dialect.end)
    page = b"<!doctype html><title>Sign in</title>"
    yield "page", "failed: a page of HTML", (head(), page)
    yield "words", "failed: upstream exploded", (head(), b"upstream exploded")
    yield "JSON of something else", "failed: no such route", (head(), b'{"ok": false, "message": "no such route"}')


def _encodings(dialect: Dialect) -> Cases:
    stream, whole = _stream(dialect), json.dumps(dialect.whole()).encode()
    refused = json.dumps(ERROR).encode()
    raw = zlib.compressobj(wbits=-15)
    packed = {
        "gzip": gzip.compress(stream),
        "x-gzip": gzip.compress(_said(dialect)) + gzip.compress(stream[len(_said(dialect)) :]),
        "GZIP, identity": gzip.compress(stream),
        "deflate": zlib.compress(stream),
        " deflate": raw.compress(stream) + raw.flush(),
        **dict.fromkeys(("gzip ", "deflate  ", "br", "zstd", "identity", "none", "utf-8", "UTF8"), stream),
    }
    for encoding, body in packed.items():
        yield f"stream {encoding!r}", "the answer and its usage", (head(content_encoding=encoding), body)
    yield "JSON", "the answer and its usage", (head(content_encoding="gzip"), gzip.compress(whole))
    yield "truncated", "the answer", (head(content_encoding="gzip"), gzip.compress(stream)[:-8])
    yield "unknown", "failed: content encoding br", (head(content_encoding="br"), b"\x8b\x02\x80" + bytes(range(99)))
    for encoding, body in {"gzip": gzip.compress(refused), "deflate": zlib.compress(refused), "br": refused}.items():
        error = head("500 Internal Server Error", "application/json", content_encoding=encoding)
        yield f"error {encoding}", "failed: upstream exploded", (error, body)


def _errors(dialect: Dialect) -> Cases:
    said, bare = dialect.start + dialect.text("Part "), {"message": "upstream exploded", "code": 500}
    forms = {
        "named": event(bare, "error"),
        "named text": event("upstream exploded", "error"),
        "named, without a blank line": event(bare, "error")[:-2],
        "field": b'error: {"message": "upstream exploded"}\n\n',
        "field of the openai form": b"error: " + json.dumps(ERROR).encode() + b"\n\n",
        "object": event(ERROR),
        "text": event({"error": "upstream exploded"}),
        "bare": event(bare),
        "typed": event({"type": "error", "message": "upstream exploded"}),
        "detail": event({"detail": "upstream exploded"}),
        "list": event([ERROR]),
    }
    for form, sent in forms.items():
        yield f"{form}, at once", "failed: upstream exploded", (head(), sent)
        yield f"{form}, later", "failed: upstream exploded", (head(), said, sent)
    yield "event of a refusal", "failed: upstream exploded", (head("400 Bad Request"), event(ERROR, "error"))
    yield "page of a refusal", "failed: HTTP 502", (head("502 Bad Gateway"), b"<h1>502</h1>upstream exploded")
    for content_type in ("text/event-stream", "text/plain", "application/json"):
        for body in (ERROR, [ERROR], {"detail": "upstream exploded"}):
            yield (
                f"JSON {str(body)[:10]} as {content_type}",
                "failed: upstream exploded",
                (head(content_type=content_type), json.dumps(body).encode()),
            )


def _framings(dialect: Dialect) -> Cases:
    stream = _stream(dialect)
    yield "CRLF", "the answer", (head(), stream.replace(b"\n", b"\r\n"))
    yield "CR", "the answer", (head(), stream.replace(b"\n", b"\r"))
    yield "CR, no line end", "the answer", (head(), stream.replace(b"\n", b"\r")[:-2])
    yield "mark", "the answer", (head(), b"\xef\xbb\xbf" + stream)
    yield "comments", "the answer", (head(), b": PROCESSING\n\n" + stream.replace(b"\n\n", b"\n\n: ping\n\n"))
    yield "no space", "the answer", (head(), stream.replace(b"data: ", b"data:"))
    yield "other fields", "the answer", (head(), stream.replace(b"data: ", b"id: 7\nretry: 10\nnonsense\ndata: "))
    yield "byte by byte", "the answer", (head(), *(bytes([byte]) for byte in stream))
    yield "long header", "the answer", (head(x_policy="a" * 30_000), stream)
    yield "many headers", "the answer", (head(**{f"x-{number}": "a" for number in range(600)}), stream)


def _texts(dialect: Dialect) -> Cases:
    """Thoughts in the text, in pieces of several lengths."""
    final = f"<|start|>assistant<|channel|>final<|message|>{ANSWER}"
    called = "<|start|>assistant<|channel|>commentary to=f <|constrain|>json<|message|>{}<|call|>"
    for name, text in {
        "think": f"<think>hm</think>\n{ANSWER}",
        "thought": f"<thought>\nhm\n</thought>\n\n{ANSWER}",
        "harmony": f"<|channel|>analysis<|message|>hm<|end|>{final}",
        "harmony with a return": f"<|start|>assistant<|channel|>analysis<|message|>hm<|end|>{called}{final}<|return|>",
        "harmony without thoughts": f"<|channel|>final<|message|>{ANSWER}",
    }.items():
        for size in (1, 7, len(text)):
            pieces = (dialect.text(text[start : start + size]) for start in range(0, len(text), size))
            stream = dialect.start + b"".join(pieces) + dialect.finish() + dialect.end
            yield f"{name} in pieces of {size}", "the answer", (head(), stream)


def _unfinished(dialect: Dialect) -> Cases:
    for reason in ("length", "content_filter", "refusal", "insufficient_system_resource", "pause_turn", "SAFETY"):
        stream = _said(dialect) + dialect.finish(reason)
        yield f"{reason}", "degraded", (head(), stream + dialect.end)
        yield f"{reason}, no marker", "degraded", (head(), stream)
        whole = json.dumps(dialect.whole(reason)).encode()
        yield f"{reason}, JSON", "degraded", (head(content_type="application/json"), whole)


Alone = Iterator[tuple[str, str, str, tuple[bytes | float, ...]]]
"""The name, the dialect, the right outcome and the body of each case that only one dialect has."""


def _done_elsewhere() -> Alone:
    done, (openai, anthropic) = event("[DONE]"), DIALECTS
    for name, body in {
        "behind": _stream(anthropic) + done,
        "instead": _said(anthropic) + anthropic.finish() + done,
        "before": _said(anthropic) + anthropic.finish() + done + anthropic.end,
        "with a name": _said(anthropic) + anthropic.finish() + event("[DONE]", "done"),
    }.items():
        yield f"[DONE] {name}", "anthropic", "the answer", (body,)
    yield "[DONE] alone", "anthropic", "cut", (_said(anthropic) + done,)
    for data in ("[DONE] ", " [DONE]", "[DONE]\t"):
        yield f"{data!r}", "openai", "the answer", (_said(openai) + openai.finish() + event(data),)


def _other_parts() -> Alone:
    openai = OpenAI()

    def chunks(part: str, *texts: str, beside: bool = False) -> bytes:
        parts: list[bytes] = []
        for number, text in enumerate(texts, start=1):
            value: Any = text if part == "text" else {"role": "assistant", "content": text}
            delta = {"delta": {"content": (FIRST, LAST)[number - 1]}} if beside else {}
            parts.append(event({"model": "owl", "choices": [{"index": 0, part: value, **delta}]}))
        return b"".join(parts)

    end = openai.finish() + openai.end
    yield "message for delta", "openai", "the answer", (chunks("message", FIRST, LAST) + end,)
    yield "text for delta", "openai", "the answer", (chunks("text", FIRST, LAST) + end,)
    yield "messages beside deltas", "openai", "the answer", (chunks("message", FIRST, ANSWER, beside=True) + end,)
    yield "message after deltas", "openai", "the answer", (_said(openai) + event(openai.whole()) + openai.end,)
    typed = event({"delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 7}}, "message_delta")
    yield "type in the name", "anthropic", "the answer", (_said(Anthropic()) + typed,)


def _choices() -> Alone:
    openai = OpenAI()
    other = event({"choices": [{"index": 1, "delta": {"content": "SECOND"}, "finish_reason": "length"}]})
    both = event(
        {"choices": [{"index": 1, "delta": {"content": "SECOND"}}, {"index": 0, "delta": {"content": ANSWER}}]}
    )
    unnumbered = event({"choices": [{"delta": {"content": ANSWER}, "finish_reason": ""}]})
    end = openai.finish("STOP") + openai.end
    yield "other choice first", "openai", "the answer", (other + _said(openai) + other + end,)
    yield "choices in one event", "openai", "the answer", (both + end,)
    yield "choice without an index", "openai", "the answer", (unnumbered + end,)
    yield "other choice alone ends", "openai", "cut", (_said(openai) + other,)
