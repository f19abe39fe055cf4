"""Texts become vectors, in the order of the texts, or the call fails with a reason."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from moa_mcp.domain.endpoints import BUILTIN
from moa_mcp.domain.errors import ProviderError, Reason
from moa_mcp.domain.model import Call, EmbedCall, Embeddings, Message
from moa_mcp.providers.base import ignore_text
from moa_mcp.providers.dialects.embeddings import EmbeddingsReader
from moa_mcp.providers.registry import Registry
from tests.upstream import Fault, Upstream, in_turn

OpenLab = Callable[..., AbstractAsyncContextManager[Registry]]
TEXTS = ("the sky is blue", "blue is the sky", "bread and butter")


def embedding(make_call: Callable[..., Call], **more: Any) -> Call:
    return make_call(EmbedCall, messages=tuple(Message("user", text) for text in TEXTS), **more)


async def test_each_text_has_its_vector_in_order_and_its_tokens_are_counted(
    make_call: Callable[..., Call], open_lab: OpenLab
) -> None:
    async with Upstream() as upstream, open_lab(upstream.base_url) as lab:
        result = await lab.complete(embedding(make_call), ignore_text)

        (request,) = upstream.requests
    assert isinstance(result, Embeddings)
    one, same, other = result.vectors
    assert request.path.endswith("/embeddings")
    assert request.body == {"model": "owl", "input": list(TEXTS), "encoding_format": "float"}
    assert one == same != other
    assert (result.usage.input_tokens, result.usage.output_tokens) == (11, 0)


async def test_a_refusal_is_a_failure_with_its_reason(make_call: Callable[..., Call], open_lab: OpenLab) -> None:
    async with Upstream(in_turn(Fault.status(401))) as upstream, open_lab(upstream.base_url) as lab:
        with pytest.raises(ProviderError) as caught:
            await lab.complete(embedding(make_call), ignore_text)

    assert caught.value.reason is Reason.AUTH


@pytest.mark.parametrize("dialect", ["anthropic", "demo"])
async def test_a_dialect_without_embeddings_says_so_and_sends_nothing(
    make_call: Callable[..., Call], open_lab: OpenLab, dialect: str
) -> None:
    async with Upstream() as upstream, open_lab(upstream.base_url, dialect) as lab:
        with pytest.raises(ProviderError, match="no embeddings") as caught:
            await lab.complete(embedding(make_call), ignore_text)

        assert upstream.requests == []
    assert caught.value.reason is Reason.BAD_REQUEST
    assert "demo" in BUILTIN


@pytest.mark.parametrize(
    "data",
    [
        None,
        [],
        [{"index": 0, "embedding": [1.0]}],
        [{"index": 0, "embedding": [1.0]}, {"index": 1, "embedding": [1.0, 2.0]}],
        [{"index": 0, "embedding": [1.0]}, {"index": 1, "embedding": ["one"]}],
        [{"index": 0, "embedding": [1.0]}, {"index": 1, "embedding": [float("nan")]}],
        [{"index": 0, "embedding": [1.0]}, {"index": 1, "embedding": [True]}],
        [{"index": 0, "embedding": [1.0]}, {"index": 1, "embedding": "AAAA"}],
    ],
)
def test_what_is_no_vector_for_each_text_is_malformed(data: object) -> None:
    with pytest.raises(ProviderError) as caught:
        EmbeddingsReader(2).whole({"data": data})

    assert caught.value.reason is Reason.MALFORMED


def test_vectors_are_put_in_the_order_of_their_texts() -> None:
    reader = EmbeddingsReader(2)
    reader.whole({"data": [{"index": 1, "embedding": [0, 1]}, {"index": 0, "embedding": [1, 0]}], "model": "owl-2"})

    assert reader.vectors == ((1.0, 0.0), (0.0, 1.0))
    assert reader.reply.draft().served_model == "owl-2"


def test_a_stream_is_malformed() -> None:
    with pytest.raises(ProviderError) as caught:
        EmbeddingsReader(1).feed("{}")

    assert caught.value.reason is Reason.MALFORMED
