"""OpenAI requests and streams, and how services differ in them, without a socket."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moa_mcp.domain.endpoints import BUILTIN, Endpoint
from moa_mcp.domain.errors import ProviderError, Reason
from moa_mcp.domain.model import Call, Draft, Message, Usage
from moa_mcp.providers.dialects.openai import DialectQuirks, OpenAIReader, headers_with, quirks_of, request_body
from tests.providers.dialects.replies import cut, feed_all, read, read_or_reason


def chunk(delta: object, finish: str | None = None, **given: object) -> str:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    return json.dumps({"id": "c1", "model": "owl-2025-01-01", "choices": [choice], **given})


def stream_of(*lines: str, end: str = "\n") -> bytes:
    return "".join(f"{line if line.startswith(':') else f'data: {line}'}{end}{end}" for line in lines).encode()


PLAIN = stream_of(
    chunk({"role": "assistant", "content": "", "refusal": None}),
    chunk({"content": "Because of "}),
    chunk({"content": "Rayleigh \ud83c"}),
    chunk({"content": "\udf08 scattering."}),
    chunk({}, "stop"),
    '{"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 7, "total_tokens": 16}}',
    "[DONE]",
)
GATEWAY = stream_of(
    ": OPENROUTER PROCESSING",
    '{"model": "maker/owl", "choices": [{"delta": {"content": "", "reasoning": "Light, "}}]}',
    ": OPENROUTER PROCESSING",
    '{"model": "maker/owl", "choices": [{"delta": {"content": null, "reasoning": "air."}}]}',
    '{"model": "maker/owl", "choices": [{"delta": {"content": "Es wäre "}}]}',
    '{"model": "maker/owl", "choices": [{"delta": {"content": "blau"}, "finish_reason": "length"}]}',
    '{"choices": [{"delta": {"content": ""}}], "usage": {"prompt_tokens": 3, "completion_tokens": 4}}',
    "[DONE]",
    end="\r\n",
)
IN_PARTS = stream_of(
    chunk({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}]}),
    chunk({"content": [{"type": "text", "text": "blue"}]}, "stop"),
    "[DONE]",
)


def reason_for(*events: str) -> Reason:
    with pytest.raises(ProviderError) as caught:
        feed_all(OpenAIReader(), *events)
    return caught.value.reason


def test_a_stream_is_read_to_a_draft() -> None:
    draft, shown = read(OpenAIReader(), PLAIN)

    assert draft == Draft("Because of Rayleigh 🌈 scattering.", "owl-2025-01-01", "stop", Usage(9, 7))
    assert shown == draft.text


def test_a_gateways_comments_thoughts_and_second_chunk_of_usage_are_read_too() -> None:
    draft, shown = read(OpenAIReader(), GATEWAY)

    assert draft == Draft("Es wäre blau", "maker/owl", "length", Usage(3, 4), thinking="Light, air.")
    assert shown == "Es wäre blau"


def test_content_in_parts_is_read_as_text_and_thoughts() -> None:
    draft, shown = read(OpenAIReader(), IN_PARTS)

    assert (draft.text, draft.thinking, shown) == ("blue", "hm", "blue")


@given(st.sampled_from([PLAIN, GATEWAY, IN_PARTS]), st.lists(st.integers(min_value=0), max_size=12))
def test_the_draft_is_the_same_wherever_the_stream_is_split(stream: bytes, places: list[int]) -> None:
    assert read(OpenAIReader(), *cut(stream, places)) == read(OpenAIReader(), stream)


@given(st.integers(min_value=0, max_value=len(PLAIN) - 2))
def test_a_stream_cut_anywhere_is_never_taken_for_a_whole_one(length: int) -> None:
    assert read_or_reason(OpenAIReader(), PLAIN[:length]) in (Reason.CUT, "cut draft")


@pytest.mark.parametrize("key", ["reasoning_content", "reasoning"])
def test_thoughts_alone_are_no_draft(key: str) -> None:
    assert reason_for(chunk({key: "hm"}, "stop"), "[DONE]") is Reason.REASONING_ONLY


def test_a_refusal_is_told_apart_from_silence() -> None:
    assert reason_for(chunk({"refusal": "I cannot."}, "stop"), "[DONE]") is Reason.REFUSED
    assert reason_for(chunk({}, "stop"), "[DONE]") is Reason.EMPTY


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        ('{"error":{"message":"slow down","code":"rate_limit_exceeded"}}', Reason.RATE_LIMITED),
        (
            '{"error":{"code":402,"message":"no credits"},"choices":[{"finish_reason":"error"}]}',
            Reason.BILLING,
        ),
        ('{"choices":[{"delta":{},"finish_reason":"error","error":{"code":429}}]}', Reason.RATE_LIMITED),
        ('{"choices":[{"delta":{},"finish_reason":"error"}]}', Reason.UNAVAILABLE),
        ('{"object":"error","message":"gone","code":404}', Reason.UNKNOWN_MODEL),
        ('{"error":"out of memory"}', Reason.UNAVAILABLE),
        ('{"choices":[{"ind', Reason.MALFORMED),
    ],
)
def test_an_error_in_the_stream_has_its_own_reason(event: str, reason: Reason) -> None:
    assert reason_for(event) is reason


@pytest.mark.parametrize(
    "event", ["null", "[]", "3", '{"choices":null}', '{"choices":[null]}', '{"choices":[{"delta":3}]}', ""]
)
def test_an_event_of_an_unexpected_shape_says_nothing(event: str) -> None:
    reader = OpenAIReader()

    assert reader.feed(event) == ""


def test_a_completion_that_was_not_streamed_is_a_draft_all_the_same() -> None:
    reader = OpenAIReader()
    message = {"role": "assistant", "content": "<think>hm</think>blue", "reasoning_content": "air"}
    usage = {"prompt_tokens": 1, "completion_tokens": 2}
    body = {"model": "owl", "choices": [{"message": message, "finish_reason": "stop"}], "usage": usage}

    assert reader.whole(body) == "blue"
    assert reader.reply.draft() == Draft("blue", "owl", "stop", Usage(1, 2), thinking="air\n\nhm")


def test_nothing_that_is_unset_is_sent(make_call: Callable[..., Call]) -> None:
    assert request_body(make_call(), "owl", DialectQuirks()) == {
        "model": "owl",
        "messages": [{"role": "user", "content": "Why is the sky blue?"}],
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def test_settings_are_sent_as_they_are(make_call: Callable[..., Call]) -> None:
    body = request_body(make_call(temperature=0.0, max_tokens=100, effort="high"), "owl", DialectQuirks())

    assert (body["temperature"], body["max_tokens"], body["reasoning_effort"]) == (0.0, 100, "high")


def test_every_turn_keeps_its_speaker_and_is_fit_to_be_encoded(make_call: Callable[..., Call]) -> None:
    turns = (Message("system", "Be brief."), Message("user", "Hi \ud83d"), Message("assistant", "Hello."))
    messages: list[dict[str, Any]] = request_body(make_call(messages=turns), "owl", DialectQuirks())["messages"]

    assert [message["role"] for message in messages] == ["system", "user", "assistant"]
    assert messages[1]["content"] == "Hi \ufffd"


@pytest.mark.parametrize(
    ("endpoint", "key"),
    [
        (BUILTIN["openai"], "max_completion_tokens"),
        (Endpoint("openai", "http://127.0.0.1:4000/v1"), "max_completion_tokens"),
        (Endpoint("second", "https://api.openai.com/v1"), "max_completion_tokens"),
        (BUILTIN["groq"], "max_tokens"),
        (Endpoint("lab", "http://127.0.0.1:8081/v1"), "max_tokens"),
    ],
)
def test_openais_own_key_for_the_limit_is_used_with_openai_only(
    endpoint: Endpoint, key: str, make_call: Callable[..., Call]
) -> None:
    body = request_body(make_call(max_tokens=5), "owl", quirks_of(endpoint))

    assert {name for name in body if name.startswith("max_")} == {key}


def test_openrouter_takes_the_effort_within_its_reasoning_settings(make_call: Callable[..., Call]) -> None:
    body = request_body(make_call(effort="low"), "maker/owl", quirks_of(BUILTIN["openrouter"]))

    assert body["reasoning"] == {"effort": "low"}
    assert "reasoning_effort" not in body


def test_mistral_is_not_sent_the_stream_options_that_it_refuses(make_call: Callable[..., Call]) -> None:
    assert "stream_options" not in request_body(make_call(), "owl", quirks_of(BUILTIN["mistral"]))


def test_a_key_is_a_bearer_token_and_no_key_no_header() -> None:
    assert headers_with("sk-1") == {"authorization": "Bearer sk-1"}
    assert headers_with(None) == {}


def test_json_mode_is_asked_for_in_openais_words(make_call: Callable[..., Call]) -> None:
    body = request_body(make_call(json_reply=True), "owl", DialectQuirks())

    assert body["response_format"] == {"type": "json_object"}
