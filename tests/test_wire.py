"""Every way in which servers really answer, over a real socket and however the bytes are split."""

from __future__ import annotations

from collections.abc import AsyncIterator

import anyio
import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moa_mcp.domain.errors import ProviderError
from moa_mcp.domain.model import Draft
from moa_mcp.providers.base import ignore_text
from moa_mcp.providers.dialects.anthropic import AnthropicReader
from moa_mcp.providers.dialects.openai import OpenAIReader
from moa_mcp.providers.wire.http import read_reply
from tests import clock
from tests.providers.dialects.replies import cut
from tests.wire_cases import made_cases
from tests.wire_replies import DATA, Case, problem_with, read_cases

CASES = [*read_cases(DATA), *made_cases()]
PLAIN = [case for case in CASES if isinstance(case.reply[0], bytes) and b"connection: close" in case.reply[0]]
"""The cases whose body can be read without a socket: it ends with the connection."""


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@clock.jumping
async def test_a_reply_is_read_as_its_server_means_it(case: Case) -> None:
    assert not await problem_with(case)


class _Body(httpx.AsyncByteStream):
    def __init__(self, chunks: list[bytes]) -> None:
        self._chunks = chunks

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for chunk in self._chunks:
            yield chunk


async def _read(case: Case, places: list[int] | None = None) -> Draft | str:
    """What becomes of a case whose body is split at these places, by default between all bytes."""
    head, _, body = b"".join(part for part in case.reply if isinstance(part, bytes)).partition(b"\r\n\r\n")
    lines = (line.partition(b": ") for line in head.split(b"\r\n")[1:])
    stream = _Body([bytes([byte]) for byte in body] if places is None else cut(body, places))
    response = httpx.Response(200, headers=[(name, value) for name, _, value in lines], stream=stream)
    reader = OpenAIReader() if case.dialect == "openai" else AnthropicReader()
    try:
        await read_reply(response, reader, ignore_text)
        return reader.reply.draft()
    except ProviderError as error:
        return str(error)


@given(st.lists(st.integers(min_value=0), max_size=12), st.data())
def test_a_reply_is_the_same_however_its_bytes_are_split(places: list[int], data: st.DataObject) -> None:
    case = data.draw(st.sampled_from(PLAIN))

    assert anyio.run(_read, case, places) == anyio.run(_read, case, [0])


@pytest.mark.parametrize("case", PLAIN, ids=lambda case: case.name)
async def test_a_reply_is_the_same_if_its_bytes_come_one_by_one(case: Case) -> None:
    assert await _read(case) == await _read(case, [0])
