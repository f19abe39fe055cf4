"""The seam between a dialect and the wire: what reads a reply event by event, without I/O."""

from __future__ import annotations

from typing import Protocol

from moa_mcp.providers.dialects.reply_builder import ReplyBuilder


class ReplyReader(Protocol):
    """One reply, being read. Its transcript has what came so far, and the draft in the end.

    Both methods raise ProviderError for a reply that says it failed or is not of the dialect.
    """

    @property
    def reply(self) -> ReplyBuilder: ...

    def feed(self, data: str) -> str:
        """Take the data of an event and return what can be shown of the answer by now."""
        ...

    def whole(self, body: object) -> str:
        """Take a body that is no stream but one JSON value, and return the answer in it."""
        ...
