"""The interface between a dialect and the HTTP client: a reader takes a reply event by event, without I/O."""

from __future__ import annotations

from typing import Protocol

from moa_mcp.providers.dialects.reply_builder import ReplyBuilder


class ReplyReader(Protocol):
    """Reads one reply. `reply` collects what came so far, and makes the draft at the end.

    Both methods raise ProviderError if the reply reports an error or does not follow the dialect.
    """

    @property
    def reply(self) -> ReplyBuilder: ...

    def feed(self, data: str) -> str:
        """Take the data of an event and return the new text that can be shown."""
        ...

    def whole(self, body: object) -> str:
        """Take a body that is one JSON value instead of a stream, and return the answer in it."""
        ...
