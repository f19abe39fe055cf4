"""A provider around two: what is to be embedded goes to one adapter of an endpoint, all else to the other."""

from __future__ import annotations

from moa_mcp.domain.errors import ProviderError, Reason
from moa_mcp.domain.model import Call, Draft, EmbedCall
from moa_mcp.providers.base import OnText, Provider


class KindRouter:
    """Parts the calls of one endpoint by their kind; `embeddings` is None where its dialect has none."""

    def __init__(self, chat: Provider, embeddings: Provider | None) -> None:
        self._chat = chat
        self._embeddings = embeddings

    async def complete(self, call: Call, on_text: OnText) -> Draft:
        """Ask whoever answers such calls.

        Raises:
            ProviderError: BAD_REQUEST, without a request, where nobody does; else what the call raises.
        """
        if not isinstance(call, EmbedCall):
            return await self._chat.complete(call, on_text)
        if self._embeddings is None:
            raise ProviderError(Reason.BAD_REQUEST, "this provider's dialect has no embeddings")
        return await self._embeddings.complete(call, on_text)
