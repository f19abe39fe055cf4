"""Reading a reply of a dialect without a socket, whole or in pieces."""

from __future__ import annotations

from itertools import pairwise

from moa_mcp.domain.errors import ProviderError
from moa_mcp.domain.model import Draft
from moa_mcp.providers.dialects.reader import ReplyReader, read_end, read_events
from moa_mcp.providers.wire.sse import EventSplitter


def cut(stream: bytes, places: list[int]) -> list[bytes]:
    """A stream in the pieces that it falls into at these places, whatever numbers they are."""
    bounds = sorted({0, len(stream), *(place % (len(stream) + 1) for place in places)})
    return [stream[start:end] for start, end in pairwise(bounds)]


def read(reader: ReplyReader, *chunks: bytes) -> tuple[Draft, str]:
    """The draft in a stream that comes in these chunks, and what of it could be shown meanwhile."""
    splitter = EventSplitter()
    shown: list[str] = []
    for chunk in chunks:
        read_events(reader, splitter.feed(chunk), shown.append)
    read_end(reader, splitter.close(), shown.append)
    return reader.reply.draft(), "".join(shown)


def read_or_reason(reader: ReplyReader, stream: bytes) -> str:
    """What a stream is taken for: a whole draft, a cut one, or the reason why it is none."""
    try:
        draft, _ = read(reader, stream)
    except ProviderError as error:
        return error.reason
    return "cut draft" if draft.cut else "whole draft"


def feed_all(reader: ReplyReader, *events: str) -> Draft:
    """The draft in the data of these events."""
    for event in events:
        reader.feed(event)
    return reader.reply.draft()
