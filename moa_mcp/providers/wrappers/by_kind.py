"""A wrapper around two adapters of an endpoint: embedding calls go to one, all other calls to the other."""

from __future__ import annotations

from typing import Protocol

from moa_mcp.domain.errors import ProviderError, Reason
from moa_mcp.domain.model import Call, ChatCall, EmbedCall, Result
from moa_mcp.providers.base import OnText


class ChatAdapter(Protocol):
    """Answers chat calls in one dialect."""

    async def complete(self, call: ChatCall, on_text: OnText) -> Result: ...


class EmbeddingsAdapter(Protocol):
    """Answers embedding calls in one dialect."""

    async def complete(self, call: EmbedCall, on_text: OnText) -> Result: ...


class KindRouter:
    """Routes the calls of one endpoint by kind; `embeddings` is None if the dialect has no embeddings."""

    def __init__(self, chat: ChatAdapter, embeddings: EmbeddingsAdapter | None) -> None:
        self._chat = chat
        self._embeddings = embeddings

    async def complete(self, call: Call, on_text: OnText) -> Result:
        """Ask the adapter for this kind of call.

        Raises:
            ProviderError: BAD_REQUEST, without a request, if there is no adapter; else the call's own error.
        """
        if isinstance(call, ChatCall):
            return await self._chat.complete(call, on_text)
        if self._embeddings is None or not isinstance(call, EmbedCall):
            raise ProviderError(Reason.BAD_REQUEST, "this provider's dialect has no embeddings")
        return await self._embeddings.complete(call, on_text)
