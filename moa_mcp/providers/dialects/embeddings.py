"""Embeddings in the openai dialect: one request returns the vectors of several texts.

The adapter answers each `EmbedCall`.
"""

from __future__ import annotations

from dataclasses import replace
from math import isfinite
from typing import TYPE_CHECKING, Any

from moa_mcp.domain.endpoints import split_model
from moa_mcp.domain.errors import ProviderError, Reason
from moa_mcp.domain.model import Draft, EmbedCall, Embeddings
from moa_mcp.domain.text import fix_surrogates
from moa_mcp.providers.base import OnText
from moa_mcp.providers.dialects.json_access import count, mapping, name, sequence
from moa_mcp.providers.dialects.reader import require
from moa_mcp.providers.dialects.reply_builder import ReplyBuilder
from moa_mcp.providers.dialects.usage import openai_usage

if TYPE_CHECKING:
    from moa_mcp.providers.wire.http import Http

PLACES = 7
"""Decimal places kept of each number; more would not change a similarity noticeably."""


class EmbeddingsProvider:
    """Asks the embedding models of one endpoint with the openai dialect."""

    def __init__(self, http: Http) -> None:
        self._http = http

    async def complete(self, call: EmbedCall, on_text: OnText) -> Embeddings:
        """Embed the texts of the call's messages. Raises ProviderError."""
        body = {
            "model": split_model(call.model)[1],
            "input": [fix_surrogates(message.text) for message in call.messages],
            "encoding_format": "float",
        }
        reader = EmbeddingsReader(len(call.messages))
        reply = await self._http.stream("/embeddings", body, reader, on_text)
        return Embeddings(reader.vectors, reply.served_model, usage=reply.usage)


class _NoText(ReplyBuilder):
    """A reply that has no text, and needs none."""

    def draft(self) -> Draft:
        return Draft("", self.served_model, usage=replace(self.usage, output_tokens=0))


class EmbeddingsReader:
    """Reads the vectors of `expected` texts."""

    def __init__(self, expected: int) -> None:
        self.reply = _NoText()
        self.vectors: tuple[tuple[float, ...], ...] = ()
        self._expected = expected

    def feed(self, data: str, event: str = "") -> str:
        """Raise ProviderError: embeddings come as one object, never as a stream."""
        raise ProviderError(Reason.MALFORMED, "a stream in place of embeddings")

    def whole(self, body: object) -> str:
        """Take the reply; returns no text to show. Raises ProviderError."""
        reply = require("data", body)
        entries = [mapping(entry) for entry in sequence(reply.get("data"))]
        embedding_at = {count(entry.get("index", place)): entry.get("embedding") for place, entry in enumerate(entries)}
        self.vectors = tuple(_vector(embedding_at.get(place)) for place in range(self._expected))
        if len(set(map(len, self.vectors))) > 1:
            raise ProviderError(Reason.MALFORMED, "vectors of different lengths")
        self.reply.ended = True
        self.reply.served_model = name(reply.get("model"))
        self.reply.add_usage(reply.get("usage"), openai_usage)
        return ""


def _vector(value: object) -> tuple[float, ...]:
    numbers = tuple(_number(each) for each in sequence(value))
    if not numbers:
        raise ProviderError(Reason.MALFORMED, "a text without a vector")
    return numbers


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        raise ProviderError(Reason.MALFORMED, "a vector of something else than numbers")
    return round(float(value), PLACES)
