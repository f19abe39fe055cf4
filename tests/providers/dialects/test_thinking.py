"""Thoughts are kept out of a text that is still arriving."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from moa_mcp.domain.text import split_thinking
from moa_mcp.providers.dialects.thinking import ThinkingFilter

plain = st.text(st.sampled_from("ab <>/think"), max_size=8).filter(lambda text: "think" not in text.lower())
thought = st.builds(
    "{}{}{}".format,
    st.sampled_from(["<think>", "<THINKING>"]),
    plain,
    st.sampled_from(["</think>", "</Thinking>"]),
)
replies = st.lists(st.one_of(plain, thought), max_size=5).map("".join)


def shown(*pieces: str) -> str:
    screen = ThinkingFilter()
    return "".join([*(screen.feed(piece) for piece in pieces), screen.close()])


@given(replies, st.lists(st.integers(min_value=0), max_size=12))
@example("< <think></think>", [])  # what is held back is what stands behind the tag before it
def test_what_is_shown_is_what_the_whole_reply_says_wherever_it_is_split(reply: str, places: list[int]) -> None:
    bounds = sorted({0, len(reply), *(place % (len(reply) + 1) for place in places)})
    pieces = [reply[start:end] for start, end in pairwise(bounds)]

    assert shown(*pieces).strip() == shown(*reply).strip() == split_thinking(reply)[0]


messages = st.lists(
    st.sampled_from(
        [
            "<|start|>",
            "<|channel|>analysis",
            "<|channel|>",
            "final",
            "<|message|>",
            "<|end|>",
            "<|call|>",
            "<think>",
            "a\n",
            "`",
        ]
    ),
    max_size=12,
).map("".join)


@given(messages, st.lists(st.integers(min_value=0), max_size=12))
@example("<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>final<|message|>a<|return|>", [3, 40])
def test_messages_of_the_harmony_format_are_shown_alike_wherever_they_are_split(reply: str, places: list[int]) -> None:
    bounds = sorted({0, len(reply), *(place % (len(reply) + 1) for place in places)})
    pieces = [reply[start:end] for start, end in pairwise(bounds)]

    assert shown(*pieces) == shown(*reply) == shown(reply)
    assert shown(reply).strip() == split_thinking(reply)[0]


soup = st.lists(st.sampled_from(["<think>", "<THINK", ">", "x", "x x", " ", "\n", "`", "```\n", "'", ".", "("]))


@given(soup.map("".join), st.lists(st.integers(min_value=0), max_size=12))
def test_tags_that_are_spoken_of_are_shown_wherever_the_reply_is_split(reply: str, places: list[int]) -> None:
    bounds = sorted({0, len(reply), *(place % (len(reply) + 1) for place in places)})
    pieces = [reply[start:end] for start, end in pairwise(bounds)]

    assert shown(*pieces) == shown(*reply) == shown(reply)
    assert shown(reply).strip() == split_thinking(reply)[0]


@pytest.mark.parametrize(
    ("reply", "seen"),
    [
        ("a<think>x</think>b", "ab"),
        ("<think>cut off", ""),
        ("<think>a <think>quoted</think> b</think>c", "c"),
        ("1 < 2 <thin air", "1 < 2 <thin air"),
        ("ends in <thi", "ends in <thi"),
        ("it is a `<think>` block", "it is a `<think>` block"),
        ("it ends with </think>, always", "it ends with </think>, always"),
        ("say <think>out loud", "say <think>out loud"),
    ],
)
def test_thoughts_are_never_shown_even_letter_by_letter(reply: str, seen: str) -> None:
    assert shown(*reply) == shown(reply) == seen


def test_text_is_shown_as_soon_as_it_can_be_no_tag() -> None:
    screen = ThinkingFilter()

    assert [screen.feed(piece) for piece in ("a <", "th", "ree", " b")] == ["a ", "", "<three", " b"]


def test_a_thought_whose_opening_the_template_ate_is_not_shown_when_it_comes_in_one_piece() -> None:
    assert shown("hm, yes</think>blue") == "blue"
