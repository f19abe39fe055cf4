"""What config.yaml and a preset say of a provider and a model is on the wire, and no secret is anywhere else."""

from __future__ import annotations

import logging
from dataclasses import replace
from math import inf
from typing import Any

import pytest

from moa_mcp.domain.endpoints import Auth, Endpoint, ModelPrice
from moa_mcp.domain.errors import MissingKey, ProviderError, Reason
from moa_mcp.domain.model import Call, ChatCall, Draft
from moa_mcp.domain.preset import Proposer
from moa_mcp.domain.sampling import FrozenDict
from moa_mcp.flows.calls import make_call as call_of
from moa_mcp.providers.base import ignore_text
from moa_mcp.providers.dialects.openai import quirks_of, sampling_body
from moa_mcp.providers.registry import Registry
from moa_mcp.providers.wrappers.timeouts import TimeoutSettings
from tests.results import as_draft
from tests.upstream import Answer, Fault, Reply, Upstream, in_turn
from tests.upstream.steps import json_response

LAB = Endpoint("lab")
CLAUDE = Endpoint("lab", dialect="anthropic")
SAMPLED: dict[str, Any] = {"top_p": 0.9, "top_k": 20, "seed": 7}
SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}}
FORM = {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA}}
SECRET = "pk-0123456789-secret"


def proposal(**settings: Any) -> ChatCall:
    """The call to a proposer as a preset's file has it."""
    return call_of(Proposer.model_validate({"model": "lab/owl", **settings}), (), "1.1", "proposer", layer=1)


async def body_of(endpoint: Endpoint, call: Call) -> dict[str, Any]:
    """The body of the request for a call, without what each has."""
    async with Upstream() as upstream:
        await ask(upstream, endpoint, call)
        kept = upstream.requests[0].body.items()
        return {key: value for key, value in kept if key not in ("model", "messages", "stream_options")}


async def ask(upstream: Upstream, endpoint: Endpoint, call: Call, environ: dict[str, str] | None = None) -> Draft:
    registry = Registry({"lab": replace(endpoint, base_url=upstream.base_url)}, environ or {})
    try:
        return as_draft(await registry.complete(call, ignore_text))
    finally:
        await registry.aclose()


async def test_what_is_unset_is_not_sent() -> None:
    assert await body_of(LAB, proposal()) == {"stream": True}
    assert await body_of(CLAUDE, proposal()) == {"stream": True, "max_tokens": 32_000}


async def test_every_setting_is_sent_in_the_words_of_the_dialect() -> None:
    call = proposal(**SAMPLED, stop=["END"], response_format=FORM, extra_body={"min_p": 0.1})

    assert await body_of(LAB, call) == {
        "stream": True,
        "stop": ["END"],
        "response_format": FORM,
        "min_p": 0.1,
        **SAMPLED,
    }
    assert await body_of(CLAUDE, call) == {
        "stream": True,
        "stop_sequences": ["END"],
        "min_p": 0.1,
        "max_tokens": 32_000,
        "output_config": {"format": {"type": "json_schema", "schema": SCHEMA}},
        **SAMPLED,
    }


async def test_a_form_and_an_effort_share_their_key_in_the_anthropic_dialect() -> None:
    body = await body_of(CLAUDE, proposal(effort="low", response_format=FORM, thinking=2048))

    assert set(body["output_config"]) == {"effort", "format"}
    assert body["thinking"] == {"type": "enabled", "budget_tokens": 2048}


@pytest.mark.parametrize(
    ("endpoint", "on", "off", "budget"),
    [
        (
            LAB,
            {"chat_template_kwargs": {"enable_thinking": True}},
            {"chat_template_kwargs": {"enable_thinking": False}},
            {"chat_template_kwargs": {"enable_thinking": True, "thinking_budget": 6000}},
        ),
        (
            Endpoint("qwen", "https://dashscope-intl.aliyuncs.com/compatible-mode/v1"),
            {"enable_thinking": True},
            {"enable_thinking": False},
            {"enable_thinking": True, "thinking_budget": 6000},
        ),
        (
            Endpoint("openrouter"),
            {"reasoning": {"enabled": True}},
            {"reasoning": {"enabled": False}},
            {"reasoning": {"max_tokens": 6000}},
        ),
        (
            Endpoint("mine", "https://api.openai.com/v1"),
            {"reasoning_effort": "medium"},
            {"reasoning_effort": "none"},
            {"reasoning_effort": "medium"},
        ),
        (
            Endpoint("deepseek"),
            {"thinking": {"type": "enabled"}},
            {"thinking": {"type": "disabled"}},
            {"thinking": {"type": "enabled", "budget_tokens": 6000}},
        ),
    ],
    ids=["vLLM and others", "Qwen", "OpenRouter", "OpenAI", "DeepSeek"],
)
def test_thinking_is_told_in_the_words_of_the_service(
    endpoint: Endpoint, on: dict[str, Any], off: dict[str, Any], budget: dict[str, Any]
) -> None:
    for thinking, body in ((True, on), (False, off), (6000, budget)):
        sampling = proposal(thinking=thinking).sampling
        assert sampling is not None
        assert sampling_body(sampling, quirks_of(endpoint)) == body


async def test_the_anthropic_dialect_thinks_as_asked() -> None:
    asked = [(await body_of(CLAUDE, proposal(thinking=thinking)))["thinking"] for thinking in (True, False, 2048)]

    assert asked == [{"type": "adaptive"}, {"type": "disabled"}, {"type": "enabled", "budget_tokens": 2048}]


async def test_extra_bodies_are_merged_and_the_nearest_wins() -> None:
    endpoint = replace(LAB, extra_body=FrozenDict({"provider": {"sort": "price", "zdr": True}, "user": "moa"}))
    body = await body_of(endpoint, proposal(extra_body={"provider": {"sort": "speed"}}))

    assert (body["provider"], body["user"]) == ({"sort": "speed", "zdr": True}, "moa")


@pytest.mark.parametrize("dialect", ["openai", "anthropic"])
@pytest.mark.parametrize(
    ("auth", "header", "value"),
    [("bearer", "authorization", "Bearer sk-1"), ("x-api-key", "x-api-key", "sk-1"), ("api-key", "api-key", "sk-1")],
)
async def test_a_key_is_sent_in_the_form_that_is_asked_and_in_no_other(
    auth: Auth, header: str, value: str, dialect: str
) -> None:
    async with Upstream() as upstream:
        endpoint = Endpoint("lab", dialect=dialect, api_key_env="LAB_KEY", auth=auth)
        await ask(upstream, endpoint, proposal(), {"LAB_KEY": "sk-1"})
        headers = upstream.requests[0].headers

    assert {name: text for name, text in headers.items() if "sk-1" in text} == {header: value}


async def test_headers_and_query_are_sent_with_their_variables_filled_in() -> None:
    endpoint = replace(
        LAB,
        headers=FrozenDict({"X-Team": "${TEAM} costs $$5", "User-Agent": "mine"}),
        query=FrozenDict({"api-version": "2024-10-21", "q": "a b"}),
    )
    async with Upstream() as upstream:
        await ask(upstream, endpoint, proposal(), {"TEAM": "red"})
        request = upstream.requests[0]

    assert (request.headers["x-team"], request.headers["user-agent"]) == ("red costs $5", "mine")
    assert request.query == "api-version=2024-10-21&q=a+b"


async def test_a_variable_of_a_header_that_is_not_set_is_missing_like_a_key() -> None:
    endpoint = replace(LAB, headers=FrozenDict({"x-a": "$PK_KEY", "x-b": "${TEAM}"}))
    async with Upstream() as upstream:
        registry = Registry({"lab": replace(endpoint, base_url=upstream.base_url)}, {"TEAM": "${TEAM}"})
        with pytest.raises(ProviderError) as caught:
            await registry.complete(proposal(), ignore_text)
        assert upstream.connections == []
    with pytest.raises(MissingKey) as missing:
        registry.check_usable(["lab/owl"])

    assert (caught.value.reason, caught.value.detail) == (Reason.MISSING_KEY, "PK_KEY")
    assert missing.value.variables == ("PK_KEY", "TEAM")


HEADERS = {
    "a variable": FrozenDict({"x-portkey-api-key": "Bearer $PK_KEY"}),
    "in the file": FrozenDict({"x-portkey-api-key": f"Bearer {SECRET}"}),
}


@pytest.mark.parametrize("headers", HEADERS.values(), ids=HEADERS)
async def test_the_value_of_a_header_is_in_no_answer_error_or_log(
    headers: FrozenDict[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    refused = Fault.status(400, message=f"no {SECRET} here")
    async with Upstream(in_turn(Reply(f"It is {SECRET}."), refused)) as upstream:
        registry = Registry({"lab": replace(LAB, base_url=upstream.base_url, headers=headers)}, {"PK_KEY": SECRET})
        draft = as_draft(await registry.complete(proposal(), ignore_text))
        with pytest.raises(ProviderError) as caught:
            await registry.complete(proposal(), ignore_text)
        await registry.aclose()

    assert (draft.text, caught.value.detail) == ("It is [key].", "no [key] here")
    assert SECRET not in caplog.text
    assert SECRET not in repr(replace(LAB, headers=headers))


@pytest.mark.parametrize("key", ["EMPTY", "k", "sk-1234"])
async def test_a_short_key_is_no_secret_in_an_answer_and_is_one_in_an_error(key: str) -> None:
    text = f"The key is {key}, a thick {key}."
    async with Upstream(in_turn(Reply(text, pieces=9), Fault.status(401, message=f"bad key {key}, check"))) as upstream:
        endpoint = Endpoint("lab", api_key_env="LAB_KEY")
        draft = await ask(upstream, endpoint, proposal(), {"LAB_KEY": key})
        with pytest.raises(ProviderError) as caught:
            await ask(upstream, endpoint, proposal(), {"LAB_KEY": key})

    assert draft.text == text
    assert caught.value.detail == "bad key [key], check"


@pytest.mark.parametrize("value", ['"sk-1"', "'sk-1'", '"sk-1', "sk-1”", "`sk-1`"])
async def test_a_key_in_quotation_marks_is_told_before_it_is_sent(value: str) -> None:
    async with Upstream() as upstream:
        with pytest.raises(ProviderError) as caught:
            await ask(upstream, Endpoint("lab", api_key_env="LAB_KEY"), proposal(), {"LAB_KEY": value})

        assert upstream.connections == []
    assert "LAB_KEY holds its value in quotation marks; take them off" in str(caught.value)
    assert value not in str(caught.value)


def whole(text: str) -> Answer:
    """The answer of a server that does not stream."""
    choice = {"message": {"content": text}, "finish_reason": "stop"}
    return Fault("whole", lambda request: [json_response(200, {"choices": [choice]})])


async def test_a_provider_that_cannot_stream_is_asked_for_a_whole_reply() -> None:
    async with Upstream(in_turn(whole("blue"))) as upstream:
        draft = await ask(upstream, replace(LAB, stream=False), proposal())
        body = upstream.requests[0].body

    assert draft.text == "blue"
    assert (body["stream"], "stream_options" in body) == (False, False)


def test_a_first_token_may_be_late_where_the_configuration_says_so() -> None:
    usual = TimeoutSettings()
    late = usual.for_endpoint(replace(LAB, first_token_seconds=300))

    assert (late.first, late.first_thinking, late.idle, late.total) == (300, 300, usual.idle, usual.total + 240)
    assert usual.for_endpoint(replace(LAB, first_token_seconds=5)).total == usual.total
    assert usual.for_endpoint(replace(LAB, stream=False)).first == inf
    assert usual.for_endpoint(LAB) == usual


def test_configured_prices_win_over_the_table_and_a_free_provider_over_both() -> None:
    prices = FrozenDict({"gpt-4o": ModelPrice(1, 2)})
    registry = Registry(
        {"openai": Endpoint("openai", prices=prices), "lab": replace(LAB, local=True, prices=prices)}, {}
    )
    own, table, free = (registry.rates(model) for model in ("openai/gpt-4o", "openai/gpt-4o-mini", "lab/gpt-4o"))

    assert own is not None
    assert table is not None
    assert free is not None
    assert (own.input_per_token, own.output_per_token) == (1e-6, 2e-6)
    assert table.output_per_token == pytest.approx(0.6e-6)
    assert free.output_per_token == 0
