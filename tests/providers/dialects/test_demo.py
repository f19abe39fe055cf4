"""The provider that needs no network says so in every answer."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from moa_mcp.domain.model import AGGREGATOR, PROPOSER, ChatCall, Message, Usage
from moa_mcp.providers.base import ignore_text
from moa_mcp.providers.dialects.demo import ECHO, DemoProvider


@pytest.mark.parametrize("role", [PROPOSER, AGGREGATOR])
async def test_every_answer_says_at_once_that_no_model_was_called(
    make_call: Callable[..., ChatCall], role: str
) -> None:
    draft = await DemoProvider().complete(make_call(model="demo/owl", role=role), ignore_text)

    assert "from demo/owl: no model was called." in draft.text
    assert "Why is the sky blue?" in draft.text
    assert draft.usage == Usage(0, 0, 0.0)


async def test_the_aggregator_tells_how_to_get_a_real_answer(make_call: Callable[..., ChatCall]) -> None:
    draft = await DemoProvider().complete(make_call(role=AGGREGATOR), ignore_text)

    assert "OPENROUTER_API_KEY" in draft.text


async def test_an_answer_comes_in_pieces_that_are_the_whole(make_call: Callable[..., ChatCall]) -> None:
    pieces: list[str] = []
    draft = await DemoProvider().complete(make_call(), pieces.append)

    assert len(pieces) > 1
    assert "".join(pieces) == draft.text


async def test_the_same_call_has_the_same_answer_and_another_slot_another(
    make_call: Callable[..., ChatCall],
) -> None:
    demo = DemoProvider()
    first, again = [await demo.complete(make_call(slot=1), ignore_text) for _ in range(2)]
    other = await demo.complete(make_call(slot=2), ignore_text)

    assert first == again
    assert first.text != other.text


async def test_a_long_question_is_only_begun(make_call: Callable[..., ChatCall]) -> None:
    messages = (
        Message("user", "why " * 1000),
        Message("assistant", "because"),
        Message("user", "how " * 1000),
    )
    draft = await DemoProvider().complete(make_call(messages=messages), ignore_text)

    assert "how how" in draft.text
    assert len(draft.text) < 200 + ECHO


async def test_it_repeats_the_question_and_nothing_that_stands_behind_it(make_call: Callable[..., ChatCall]) -> None:
    asked = (
        Message("user", "Why?\n\nSeveral writers have drafted\n<<draft 1 00>>\nOld words.\n<<end of draft 1 00>>"),
    )
    draft = await DemoProvider().complete(make_call(messages=asked), ignore_text)

    assert "“Why?”" in draft.text
    assert "draft 1" not in draft.text
