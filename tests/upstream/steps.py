"""What a server does to answer, as values: bytes to write, pauses to make, ways to end. No I/O here."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from http import HTTPStatus
from typing import Any


@dataclass(frozen=True, slots=True)
class Pause:
    """Nothing is written for `seconds`."""

    seconds: float


class End(Enum):
    """How an answer ends, other than by being complete."""

    HANG = "stay silent until the client leaves"
    CLOSE = "close the connection with a FIN"
    RESET = "close the connection with an RST"


Step = bytes | Pause | End

_LARGEST_WRITE = 65536
LAST_CHUNK = b"0\r\n\r\n"
SSE = {"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache"}
CHUNKED = {"transfer-encoding": "chunked"}
_JSON = {"content-type": "application/json"}
_PHRASES = {status.value: status.phrase for status in HTTPStatus} | {529: "Site is overloaded"}


def as_json(value: Any) -> bytes:
    """Write JSON with its text as UTF-8; a lone surrogate, which UTF-8 cannot carry, as a JSON escape."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "backslashreplace")


def head(status: int, *headers: Mapping[str, str]) -> bytes:
    """Write a status line and headers; of headers with one name the last given counts."""
    merged = {name.lower(): value for group in headers for name, value in group.items()}
    lines = [f"HTTP/1.1 {status} {_PHRASES.get(status, 'Unassigned')}"]
    lines += (f"{name}: {value}" for name, value in merged.items())
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def whole(status: int, body: bytes, *headers: Mapping[str, str]) -> bytes:
    """Write a response whose length is known."""
    return head(status, {"content-length": str(len(body))}, *headers) + body


def json_response(status: int, value: Any, *headers: Mapping[str, str]) -> bytes:
    """Write a response that is one JSON value."""
    return whole(status, as_json(value), _JSON, *headers)


def chunk(data: bytes) -> bytes:
    """Frame bytes as one chunk of a chunked body."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def chunked(steps: Iterable[Step]) -> Iterator[Step]:
    """Frame every written step as a chunk of its own; the last chunk is for the caller to add."""
    for step in steps:
        yield chunk(step) if isinstance(step, bytes) else step


def packed(steps: Iterable[Step], split: int | None = None) -> Iterator[Step]:
    """Join what follows without a pause into one write, or cut it into writes of `split` bytes."""
    held = bytearray()
    for step in steps:
        if isinstance(step, bytes):
            held += step
            if len(held) < _LARGEST_WRITE:
                continue
        yield from _writes(held, split)
        held.clear()
        if not isinstance(step, bytes):
            yield step
    yield from _writes(held, split)


def _writes(data: bytearray, split: int | None) -> Iterator[bytes]:
    size = split or len(data)
    return (bytes(data[start : start + size]) for start in range(0, len(data), size or 1))
