"""The interface between a dialect and the HTTP client: a reader takes a reply event by event, without I/O."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from moa_mcp.domain.errors import ProviderError, Reason
from moa_mcp.providers.dialects.error_mapping import error_from_body
from moa_mcp.providers.dialects.json_access import first_words, mapping, parse, parse_or_text, sequence, string
from moa_mcp.providers.dialects.reply_builder import ReplyBuilder


class ReplyReader(Protocol):
    """Reads one reply. `reply` collects what came so far, and makes the draft at the end.

    Both methods raise ProviderError if the reply reports an error or does not follow the dialect.
    """

    @property
    def reply(self) -> ReplyBuilder: ...

    def feed(self, data: str, event: str = "") -> str:
        """Take the data of an event and its name, if it has one; return the new text that can be shown."""
        ...

    def whole(self, body: object) -> str:
        """Take a body that is one JSON value instead of a stream, and return the answer in it."""
        ...


def check_error(value: object, event: str = "") -> None:
    """Raise ProviderError, with the provider's words, if an event or a whole body reports an error.

    `value` is the JSON value, or the text if it is not JSON; `event` is the name of the event. An error has many
    forms: the name of the event, an object in a list, or a message with a code, or a detail, without an error object.
    """
    body = mapping(next(iter(sequence(value)), None) or value)
    is_error = "error" in (event, body.get("object"), body.get("type")) or body.get("error")
    if not is_error and "choices" not in body:
        is_error = body.get("detail") or (string(body.get("message")) and body.get("code"))
    if is_error:
        raise error_from_body(value)


def read_event(data: str, event: str) -> dict[str, Any]:
    """The JSON object in an event; empty for any other value. Raises ProviderError if the event is an error."""
    value = parse_or_text(data) if event == "error" else parse(data) if data else None
    check_error(value, event)
    return mapping(value)


def require(key: str, body: object) -> dict[str, Any]:
    """The whole body of a reply. Raises ProviderError if it is an error, or if it has no `key`: MALFORMED."""
    check_error(body)
    reply = mapping(body)
    if key not in reply:
        raise ProviderError(Reason.MALFORMED, f"a body without {key}: {first_words(json.dumps(body))}")
    return reply


def read_events(reader: ReplyReader, events: Iterable[tuple[str, str]], show: Callable[[str], None]) -> str:
    """Feed `events`, as (name, data), up to the end marker. Show the new text, also if an error follows it; return it.

    Nothing after the end marker counts: some servers send a second marker, or an error about their own log.
    """
    pieces: list[str] = []
    try:
        for name, data in events:
            if reader.reply.ended:
                break
            pieces.append(reader.feed(data, name))
    finally:
        show(text := "".join(pieces))
    return text


def read_end(reader: ReplyReader, events: Iterable[tuple[str, str]], show: Callable[[str], None]) -> None:
    """Feed the events at the end of the body, and show the rest of the text.

    An event that the end of the body cut off is not JSON; it is ignored.
    """
    try:
        read_events(reader, events, show)
    except ProviderError as error:
        if error.reason is not Reason.MALFORMED:
            raise
    show(reader.reply.close())
