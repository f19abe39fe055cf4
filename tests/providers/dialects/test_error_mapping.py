"""Which reason a provider's refusal is given, and what else is read from it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from moa_mcp.domain.errors import Reason
from moa_mcp.providers.dialects.error_mapping import (
    error_from_body,
    error_from_redirect,
    error_from_response,
    retry_after,
)
from moa_mcp.providers.settings import is_unknown_setting

NOW = 1_700_000_000.0  # Tue, 14 Nov 2023 22:13:20 GMT


def openai_error(message: str = "no", **given: Any) -> dict[str, Any]:
    return {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": None, **given}}


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (400, Reason.BAD_REQUEST),
        (401, Reason.AUTH),
        (402, Reason.BILLING),
        (403, Reason.FORBIDDEN),
        (404, Reason.WRONG_URL),
        (405, Reason.WRONG_URL),
        (408, Reason.UNAVAILABLE),
        (409, Reason.UNAVAILABLE),
        (413, Reason.TOO_LONG),
        (422, Reason.BAD_REQUEST),
        (429, Reason.RATE_LIMITED),
        (500, Reason.UNAVAILABLE),
        (503, Reason.UNAVAILABLE),
        (529, Reason.OVERLOADED),
        (599, Reason.UNAVAILABLE),
    ],
)
def test_a_status_alone_has_its_reason(status: int, reason: Reason) -> None:
    error = error_from_response(status, {}, "", now=NOW)

    assert (error.reason, error.status, error.detail) == (reason, status, f"HTTP {status}")


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (400, openai_error(code="context_length_exceeded"), Reason.TOO_LONG),
        (400, openai_error("This model's maximum context length is 8192 tokens"), Reason.TOO_LONG),
        (400, openai_error("prompt is too long: 210000 tokens > 200000 maximum"), Reason.TOO_LONG),
        (400, openai_error("Your credit balance is too low to access the API"), Reason.BILLING),
        (400, openai_error("owl-9 is not a valid model ID", code=400), Reason.UNKNOWN_MODEL),
        (400, [openai_error("API key not valid. Please pass a valid key.")], Reason.AUTH),
        (429, openai_error(type="insufficient_quota", code="insufficient_quota"), Reason.BILLING),
        (429, {"error": {"details": {"error_code": "enforced_spend_limit_reached"}}}, Reason.BILLING),
        (429, openai_error("Too many tokens, wait before trying again"), Reason.RATE_LIMITED),
        (403, openai_error("Key limit exceeded (total limit)"), Reason.BILLING),
        (500, openai_error("the context window moved", type="server_error"), Reason.UNAVAILABLE),
        (400, {"error": "Model owl does not exist"}, Reason.UNKNOWN_MODEL),
    ],
)
def test_what_the_provider_says_more_exactly_counts_more_than_the_status(
    status: int, body: object, reason: Reason
) -> None:
    assert error_from_response(status, {}, body, now=NOW).reason is reason


@pytest.mark.parametrize(
    ("body", "reason", "status"),
    [
        (
            {"type": "error", "error": {"type": "overloaded_error", "message": "busy"}},
            Reason.OVERLOADED,
            None,
        ),
        ({"error": {"code": 429, "message": "slow down"}}, Reason.RATE_LIMITED, 429),
        ({"error": {"code": "502", "message": "down"}}, Reason.UNAVAILABLE, 502),
        ({"error": {"type": "server_error", "message": "oops"}}, Reason.UNAVAILABLE, None),
        (openai_error(), Reason.BAD_REQUEST, None),
        ({"object": "error", "message": "no", "code": 404}, Reason.UNKNOWN_MODEL, 404),
        ({}, Reason.UNAVAILABLE, None),
    ],
)
def test_an_error_within_a_good_reply_is_read_by_its_own_code(body: object, reason: Reason, status: int | None) -> None:
    error = error_from_body(body)

    assert (error.reason, error.status) == (reason, status)


DATA = Path(__file__).parents[2] / "data"


def lines_of(file: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (DATA / file).read_text(encoding="utf-8").splitlines()]


TEXTS = lines_of("error_texts.jsonl")
"""What providers really said, from public bug reports and their documentation: status, body, and the right reason."""


@pytest.mark.parametrize("text", TEXTS, ids=[text["name"] for text in TEXTS])
def test_what_providers_really_say_gets_the_advice_that_helps(text: dict[str, Any]) -> None:
    status, body = text["status"], text["body"]
    error = error_from_body(body) if status == 200 else error_from_response(status, {}, body, now=NOW)

    assert (error.reason, error.parameter) == (text["reason"], text.get("parameter"))
    assert error.detail


@pytest.mark.parametrize("wording", lines_of("error_wordings.jsonl"), ids=lambda wording: wording["message"][:40])
def test_another_wording_of_the_same_kind_gets_the_same_reason(wording: dict[str, Any]) -> None:
    error = error_from_response(wording["status"], {}, {"error": {"message": wording["message"]}}, now=NOW)

    assert error.reason == wording["reason"]


def test_the_detail_of_a_gateways_error_has_the_words_of_the_provider_behind_it() -> None:
    raw = '{"error":{"message":"maximum context length"}}'
    error = error_from_body({"error": {"code": 400, "message": "Provider returned error", "metadata": {"raw": raw}}})

    assert error.reason is Reason.TOO_LONG
    assert error.detail == f"Provider returned error: {raw}"


@pytest.mark.parametrize(
    ("body", "parameter"),
    [
        (openai_error(param="max_tokens"), "max_tokens"),
        (openai_error("temperature is odd too", param="messages.0"), None),
        (openai_error("Use max_completion_tokens, not max_tokens", param="max_tokens"), "max_tokens"),
        ({"detail": [{"loc": ["body", "stream_options", "include_usage"]}]}, "stream_options"),
        ({"error": "Model grok does not support parameter reasoningEffort."}, "reasoningeffort"),
        ({"error": {"message": "This model does not support the effort parameter."}}, "effort"),
        (openai_error("bad"), None),
    ],
)
def test_a_refused_setting_is_named_as_the_provider_names_it(body: object, parameter: str | None) -> None:
    assert error_from_response(400, {}, body, now=NOW).parameter == parameter


@pytest.mark.parametrize(
    "message",
    [
        "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
        "Unsupported value: 'temperature' does not support 0.5 with this model. Only the default (1) is supported.",
        "`temperature` is deprecated for this model.",
        "temperature: Extra inputs are not permitted",
        "Unrecognized request argument supplied: reasoning_effort",
        'Invalid JSON payload received. Unknown name "reasoning_effort": Cannot find field.',
        "This model does not support the effort parameter.",
    ],
)
def test_a_setting_that_a_model_does_not_take_at_all_is_unknown_to_it(message: str) -> None:
    assert is_unknown_setting(message)


@pytest.mark.parametrize(
    "message",
    [
        "temperature: range: 0..1",
        "max_tokens: 100000 > 64000, which is the maximum allowed number of output tokens",
        "max_tokens is too large: 100000. This model supports at most 4096 completion tokens.",
        "Unsupported value: 'reasoning_effort' does not support 'minimal'. Supported values are: 'low' and 'high'.",
        "`temperature` may only be set to 1 when thinking is enabled",
        "temperature is not valid",
        "",
    ],
)
def test_a_value_that_a_model_does_not_take_says_nothing_of_the_setting(message: str) -> None:
    assert not is_unknown_setting(message)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "2"}, 2.0),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after-ms": "soon", "retry-after": "9"}, 9.0),
        ({"retry-after": "Tue, 14 Nov 2023 22:13:50 GMT"}, 30.0),
        ({"retry-after": "Tue, 14 Nov 2023 22:13:50 -0000"}, 30.0),
        ({"retry-after": "Tue, 14 Nov 2023 21:00:00 GMT"}, 0.0),
        ({"retry-after": "1e9"}, 1e9),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "later"}, None),
        ({}, None),
    ],
)
def test_a_wish_to_wait_is_read_in_each_of_its_forms(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers, NOW) == seconds


@pytest.mark.parametrize(
    ("message", "seconds"),
    [
        ("Please retry in 4.2s.", 4.2),
        ("Please try again in 1m2.5s. Visit …", 62.5),
        ("try again in 7m12s", 432),
        ("Please retry after 20 seconds.", 20),
        ("Wait 30 seconds before the next request", 30),
        ("try again in 250ms", 0.25),
        ("available again in 2 minutes 3 seconds", 123),
        ("Limit 30000, Used 28000", None),
        ("wait for the next model", None),
    ],
)
def test_a_wish_to_wait_is_read_from_the_words(message: str, seconds: float | None) -> None:
    error = error_from_response(429, {}, openai_error(message), now=NOW)

    assert error.retry_after == (seconds if seconds is None else pytest.approx(seconds))


@pytest.mark.parametrize(
    ("body", "seconds"),
    [
        ([{"error": {"code": 429, "details": [{"@type": "…RetryInfo", "retryDelay": "4s"}]}}], 4),
        ({"error": {"message": "slow down", "retry_after": 5}}, 5),
        ({"error": {"message": "slow down", "metadata": {"retry_after_ms": 1500}}}, 1.5),
        ({"error": "Model owl is currently loading", "estimated_time": 20.0}, 20),
    ],
)
def test_a_wish_to_wait_is_read_from_the_values(body: object, seconds: float) -> None:
    assert error_from_response(429, {}, body, now=NOW).retry_after == pytest.approx(seconds)


def test_a_wish_in_the_headers_counts_more_than_one_in_the_body() -> None:
    error = error_from_response(429, {"retry-after": "2"}, openai_error("try again in 9s"), now=NOW)

    assert error.retry_after == 2


@pytest.mark.parametrize(("message", "wish"), [("true", True), ("False", False), ("maybe", None)])
def test_the_providers_own_word_on_retrying_is_kept(message: str, wish: bool | None) -> None:
    assert error_from_response(500, {"x-should-retry": message}, "", now=NOW).should_retry is wish


@pytest.mark.parametrize(
    ("location", "named"),
    [
        ("https://user:pw@evil.example:8443/x?key=1", "to evil.example"),
        ("/elsewhere", "to a path of its own"),
        ("http://[broken", "to a path of its own"),
    ],
)
def test_a_redirect_names_the_other_host_and_nothing_more(location: str, named: str) -> None:
    error = error_from_redirect(307, location)

    assert (error.reason, error.detail, error.status) == (Reason.REDIRECT, named, 307)
