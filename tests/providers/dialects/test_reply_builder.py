"""What becomes of the pieces of a reply: a draft, or the reason why there is none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moa_mcp.domain.errors import ProviderError, Reason
from moa_mcp.domain.text import fix_surrogates
from moa_mcp.providers.dialects.reply_builder import MAX_TEXT, ReplyBuilder

halves = st.sampled_from(["\ud83d", "\ude00", "a", "é", " b"])


def transcript_of(*pieces: str, finish: str | None = "stop", ended: bool = True) -> ReplyBuilder:
    transcript = ReplyBuilder(finish_reason=finish)
    for piece in pieces:
        transcript.add_text(piece)
    if ended:
        transcript.end()
    return transcript


def reason_for(transcript: ReplyBuilder) -> Reason:
    with pytest.raises(ProviderError) as caught:
        transcript.draft()
    return caught.value.reason


@given(st.lists(st.lists(halves, min_size=1, max_size=3).map("".join), max_size=6))
def test_split_characters_are_rejoined_and_lone_halves_replaced_as_in_the_whole(pieces: list[str]) -> None:
    transcript = ReplyBuilder(finish_reason="stop")
    shown = "".join([*(transcript.add_text(piece) for piece in pieces), transcript.end()])

    assert shown == fix_surrogates("x" + "".join(pieces))[1:].lstrip()
    shown.encode()
    if shown.strip():
        assert transcript.draft().text == shown.strip()


def test_half_a_character_is_held_back_until_its_other_half_comes() -> None:
    transcript = ReplyBuilder()

    assert [transcript.add_text("a\ud83d"), transcript.add_text("\ude00b")] == ["a", "😀b"]


def test_half_a_character_at_the_end_of_a_cut_reply_is_replaced() -> None:
    assert transcript_of("blue \ud83d", finish=None, ended=False).draft().text == "blue \ufffd"


def test_white_space_before_the_first_word_is_not_shown() -> None:
    transcript = ReplyBuilder()

    assert [transcript.add_text(piece) for piece in ("\n", " ", " blue", " sky")] == ["", "", "blue", " sky"]


def test_thoughts_of_either_kind_are_kept_apart_from_the_text() -> None:
    transcript = ReplyBuilder(finish_reason="stop")
    transcript.add_thinking("first, ")
    transcript.add_thinking("light")
    transcript.add_text("<think>then air</think>blue")
    transcript.end()
    draft = transcript.draft()

    assert (draft.text, draft.thinking) == ("blue", "first, light\n\nthen air")


@pytest.mark.parametrize("finish", [None, "", "null", "n" * 41])
def test_a_reply_without_an_end_marker_or_a_finish_reason_is_cut(finish: str | None) -> None:
    transcript = transcript_of("blue", finish=finish, ended=False)

    assert transcript.close() == ""
    assert transcript.draft().unfinished == "was cut off before its end"


@pytest.mark.parametrize(("finish", "ended"), [("stop", False), (None, True), ("stop", True)])
def test_a_reply_with_either_is_whole_at_the_end_of_its_body(finish: str | None, ended: bool) -> None:
    transcript = transcript_of("blue", finish=finish, ended=ended)
    transcript.close()

    assert not transcript.draft().unfinished


def test_text_that_was_held_back_is_shown_at_the_end_of_the_body() -> None:
    transcript = ReplyBuilder(finish_reason="stop")

    assert [transcript.add_text("a <thi"), transcript.close()] == ["a ", "<thi"]


@pytest.mark.parametrize(
    "finish",
    ["length", "SAFETY", "sensitive", "insufficient_system_resource", "pause_turn", "aborted", "network_error"],
)
def test_a_text_that_the_provider_stopped_is_a_draft_that_is_unfinished(finish: str) -> None:
    draft = transcript_of("blue", finish=finish).draft()

    assert draft.text == "blue"
    assert draft.unfinished


def test_a_reply_of_nothing_is_empty() -> None:
    assert reason_for(transcript_of(" \n")) is Reason.EMPTY


def test_a_reply_of_thoughts_is_reasoning_only() -> None:
    assert reason_for(transcript_of("<think>hm", finish="length")) is Reason.REASONING_ONLY


def test_a_reply_that_broke_off_before_any_text_is_cut_even_if_it_thought() -> None:
    assert reason_for(transcript_of("<think>hm", finish=None, ended=False)) is Reason.CUT


def test_a_filtered_reply_without_text_is_a_refusal() -> None:
    assert reason_for(transcript_of(finish="refusal")) is Reason.REFUSED


def test_a_filtered_reply_with_text_is_a_draft_that_says_so() -> None:
    assert transcript_of("blue", finish="SAFETY").draft().finish_reason == "content_filter"


def test_a_full_window_before_any_text_means_the_question_was_too_long() -> None:
    assert reason_for(transcript_of(finish="model_context_window_exceeded")) is Reason.TOO_LONG


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("end_turn", "stop"),
        ("eos", "stop"),
        ("max_tokens", "length"),
        ("MAX_TOKENS", "length"),
        ("tool_use", "tool_calls"),
        ("pause_turn", "pause_turn"),
    ],
)
def test_finish_reasons_are_told_in_one_vocabulary(theirs: str, ours: str) -> None:
    assert transcript_of("blue", finish=theirs).draft().finish_reason == ours


@pytest.mark.parametrize("thinking", [True, False])
def test_a_reply_without_end_is_refused_at_the_cap(thinking: bool) -> None:
    transcript = ReplyBuilder()
    take = transcript.add_thinking if thinking else transcript.add_text

    take("a" * MAX_TEXT)

    with pytest.raises(ProviderError) as caught:
        take("a")

    assert caught.value.reason is Reason.TOO_LARGE
