"""A request as it reached the upstream, and the little HTTP/1.1 that reading one takes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d+)", re.IGNORECASE)
_END_OF_HEAD = b"\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Request:
    """What a client sent.

    `headers` has lower-case names. `body` is the parsed JSON object, empty when there was none.
    `number` counts the requests of one upstream from 1. `received_at` is on anyio's clock, in seconds.
    """

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: Mapping[str, Any]
    number: int
    received_at: float

    @classmethod
    def parse(cls, head: bytes, body: bytes, *, number: int, received_at: float) -> Request:
        """Read a request from its head (without the empty line) and its body.

        Raises:
            ValueError: the head is not that of an HTTP request.
        """
        first, *lines = head.decode("latin-1").split("\r\n")
        method, target, _ = first.split(" ")
        path, _, query = target.partition("?")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        return cls(method, path, query, headers, _json_object(body), number, received_at)

    @property
    def model(self) -> str:
        """The model that was asked for, or an empty text."""
        return str(self.body.get("model", ""))

    @property
    def question(self) -> str:
        """The text of the last message, or an empty text."""
        return self._texts()[-1]

    @property
    def prompt(self) -> str:
        """The text of all messages."""
        return "\n\n".join(self._texts())

    def _texts(self) -> list[str]:
        messages: list[dict[str, Any]] = self.body.get("messages") or [{}]
        contents: list[str | list[dict[str, Any]]] = [message.get("content") or "" for message in messages]
        return [
            content if isinstance(content, str) else "".join(part.get("text", "") for part in content)
            for content in contents
        ]


def _json_object(body: bytes) -> Mapping[str, Any]:
    try:
        value = json.loads(body)
    except ValueError:
        return {}
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def messages_in(buffer: bytearray) -> Iterator[tuple[bytes, bytes]]:
    """Take every complete (head, body) off the front of `buffer`; a body needs a Content-Length."""
    while (end := buffer.find(_END_OF_HEAD)) >= 0:
        length = _LENGTH.search(buffer, 0, end)
        begin = end + len(_END_OF_HEAD)
        stop = begin + (int(length[1]) if length else 0)
        if len(buffer) < stop:
            return
        message = bytes(buffer[:end]), bytes(buffer[begin:stop])
        del buffer[:stop]
        yield message
