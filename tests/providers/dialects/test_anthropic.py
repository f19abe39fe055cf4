"""Anthropic requests and streams, without a socket."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moa_mcp.domain.errors import ProviderError, Reason
from moa_mcp.domain.model import ChatCall, Draft, Message, Usage
from moa_mcp.providers.dialects.anthropic import (
    DEFAULT_MAX_TOKENS,
    VERSION,
    AnthropicReader,
    headers_with,
    request_body,
)
from tests.providers.dialects.replies import cut, feed_all, read, read_or_reason


def event(kind: str, **given: object) -> str:
    return json.dumps({"type": kind, **given})


def delta(kind: str, **given: object) -> str:
    return event("content_block_delta", index=0, delta={"type": kind, **given})


def ending(stop_reason: str, **given: object) -> str:
    return event("message_delta", delta={"stop_reason": stop_reason, **given}, usage={"output_tokens": 15})


START = event("message_start", message={"model": "claude-owl-1", "usage": {"input_tokens": 25, "output_tokens": 1}})
TEXT = delta("text_delta", text="blue")
STOP = event("message_stop")
EVENTS = (
    START,
    event("content_block_start", index=0, content_block={"type": "thinking", "thinking": "", "signature": ""}),
    event("ping"),
    delta("thinking_delta", thinking="Light, air."),
    delta("signature_delta", signature="c2lnbmVk"),
    event("content_block_stop", index=0),
    event("content_block_start", index=1, content_block={"type": "text", "text": ""}),
    delta("text_delta", text="Es wäre \ud83c"),
    delta("text_delta", text="\udf08 blau."),
    ending("end_turn", stop_sequence=None),
    STOP,
)
STREAM = "".join(f"event: any\ndata: {data}\n\n" for data in EVENTS).encode()


def test_a_stream_is_read_to_a_draft() -> None:
    draft, shown = read(AnthropicReader(), STREAM)

    assert draft == Draft("Es wäre 🌈 blau.", "claude-owl-1", "stop", Usage(25, 15), thinking="Light, air.")
    assert shown == draft.text


@given(st.lists(st.integers(min_value=0), max_size=12))
def test_the_draft_is_the_same_wherever_the_stream_is_split(places: list[int]) -> None:
    assert read(AnthropicReader(), *cut(STREAM, places)) == read(AnthropicReader(), STREAM)


FINISHED = STREAM.index(b"\n\n", STREAM.index(b'"stop_reason": "end_turn"'))
"""The length of the stream with all of the event that gives the finish reason."""


@given(st.integers(min_value=0, max_value=FINISHED - 1))
def test_a_stream_cut_before_its_finish_reason_is_never_taken_for_a_whole_one(length: int) -> None:
    assert read_or_reason(AnthropicReader(), STREAM[:length]) in (Reason.CUT, "cut draft")


@given(st.integers(min_value=FINISHED, max_value=len(STREAM)))
def test_a_stream_cut_after_its_finish_reason_is_whole(length: int) -> None:
    assert read_or_reason(AnthropicReader(), STREAM[:length]) == "whole draft"


def test_a_cut_stream_does_not_know_its_output_tokens() -> None:
    assert feed_all(AnthropicReader(), START, TEXT).usage == Usage(25, None)


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("tool_use", "tool_calls"),
        ("refusal", "content_filter"),
    ],
)
def test_stop_reasons_are_told_as_finish_reasons(theirs: str, ours: str) -> None:
    assert feed_all(AnthropicReader(), TEXT, ending(theirs), STOP).finish_reason == ours


@pytest.mark.parametrize(
    ("failing", "reason"),
    [
        (event("error", error={"type": "overloaded_error", "message": "No."}), Reason.OVERLOADED),
        (event("error", error={"type": "rate_limit_error", "message": "No."}), Reason.RATE_LIMITED),
        (event("error", error={"type": "api_error", "message": "No."}), Reason.UNAVAILABLE),
        ('{"type":"content_bl', Reason.MALFORMED),
    ],
)
def test_an_error_in_the_stream_has_its_own_reason(failing: str, reason: Reason) -> None:
    with pytest.raises(ProviderError) as caught:
        feed_all(AnthropicReader(), TEXT, failing)

    assert caught.value.reason is reason


def test_a_refusal_before_any_text_is_one_and_says_why() -> None:
    refused = ending("refusal", stop_details={"type": "refusal", "explanation": "Not this."})

    with pytest.raises(ProviderError) as caught:
        feed_all(AnthropicReader(), refused, STOP)

    assert (caught.value.reason, caught.value.detail) == (Reason.REFUSED, "Not this.")


@pytest.mark.parametrize("odd", ["null", "[]", "{}", '{"type":"content_block_delta","delta":3}', ""])
def test_an_event_of_an_unexpected_shape_says_nothing(odd: str) -> None:
    reader = AnthropicReader()

    assert reader.feed(odd) == ""


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"type": "error", "error": {"type": "billing_error", "message": "no"}}, Reason.BILLING),
        ({"message": "no such route"}, Reason.MALFORMED),
        (None, Reason.MALFORMED),
    ],
)
def test_a_body_that_is_no_message_is_an_error(body: object, reason: Reason) -> None:
    reader = AnthropicReader()

    with pytest.raises(ProviderError) as caught:
        reader.whole(body)

    assert caught.value.reason is reason


def test_nothing_that_is_unset_is_sent_but_the_limit_that_the_dialect_demands(
    make_call: Callable[..., ChatCall],
) -> None:
    assert request_body(make_call(), "claude-owl-1") == {
        "model": "claude-owl-1",
        "max_tokens": DEFAULT_MAX_TOKENS,
        "messages": [{"role": "user", "content": "Why is the sky blue?"}],
        "stream": True,
    }


def test_settings_are_sent_as_they_are(make_call: Callable[..., ChatCall]) -> None:
    body = request_body(make_call(temperature=0.0, max_tokens=100), "owl")

    assert (body["temperature"], body["max_tokens"]) == (0.0, 100)


def test_an_effort_switches_thinking_on(make_call: Callable[..., ChatCall]) -> None:
    body = request_body(make_call(effort="high"), "owl")

    assert (body["output_config"], body["thinking"]) == ({"effort": "high"}, {"type": "adaptive"})


def test_system_text_stands_apart_and_turns_of_one_speaker_in_a_row_are_one(
    make_call: Callable[..., ChatCall],
) -> None:
    turns = (
        Message("system", "Be brief."),
        Message("user", "Hi."),
        Message("user", "Why? \ud83d"),
        Message("assistant", "Air."),
        Message("system", "In English."),
        Message("user", "More."),
    )
    body = request_body(make_call(messages=turns), "owl")

    assert body["system"] == "Be brief.\n\nIn English."
    assert body["messages"] == [
        {"role": "user", "content": "Hi.\n\nWhy? \ufffd"},
        {"role": "assistant", "content": "Air."},
        {"role": "user", "content": "More."},
    ]


def test_the_key_has_the_header_of_the_dialect() -> None:
    assert headers_with("sk-1") == {"anthropic-version": VERSION, "x-api-key": "sk-1"}
    assert headers_with(None) == {"anthropic-version": VERSION}
