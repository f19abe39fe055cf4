"""What a call cost, read from the wire: each bill is what the provider charges for what it reported."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from moa_mcp.domain.endpoints import BUILTIN
from moa_mcp.domain.errors import ProviderError
from moa_mcp.domain.model import Call, ChatCall, Message
from moa_mcp.domain.usage import Usage
from moa_mcp.providers.base import ignore_text
from moa_mcp.providers.registry import Registry
from tests.upstream import Reply, Upstream

Report = Mapping[str, Any]

THOUGHT_APART = {"prompt_tokens": 32, "completion_tokens": 9, "total_tokens": 9441}
XAI = {**THOUGHT_APART, "completion_tokens_details": {"reasoning_tokens": 9400}}
XAI_WITHOUT_TOTAL = {key: value for key, value in XAI.items() if key != "total_tokens"}
GOOGLE = {"prompt_tokens": 20, "completion_tokens": 198, "total_tokens": 40_718}
OPENAI = {
    "prompt_tokens": 100_000,
    "completion_tokens": 10,
    "total_tokens": 100_010,
    "prompt_tokens_details": {"cached_tokens": 99_000},
}
DEEPSEEK = {
    "prompt_tokens": 100_000,
    "completion_tokens": 1,
    "total_tokens": 100_001,
    "prompt_cache_hit_tokens": 99_000,
    "prompt_cache_miss_tokens": 1000,
}
PLAIN = {"prompt_tokens": 30, "completion_tokens": 2, "total_tokens": 32}
WRITTEN = {"prompt_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 10_000}}


async def bill(model: str, reply: Reply) -> Usage:
    """Ask a built-in provider that is really at an upstream of ours."""
    name = model.partition("/")[0]
    async with Upstream(lambda _: reply) as upstream:
        endpoint = replace(BUILTIN[name], base_url=upstream.base_url)
        registry = Registry({name: endpoint}, {endpoint.api_key_env or "": "sk-lab-secret"})
        try:
            call: Call = ChatCall("1.1", "proposer", 1, 1, model, (Message("user", "Why?"),))
            return (await registry.complete(call, ignore_text)).usage
        finally:
            await registry.aclose()


@pytest.mark.parametrize(
    ("model", "report", "tokens", "cost"),
    [
        ("xai/grok-4", XAI, (32, 9409), 0.141231),
        ("xai/grok-4", XAI_WITHOUT_TOTAL, (32, 9409), 0.141231),
        ("google/gemini-2.5-pro", GOOGLE, (20, 40_698), 0.407005),
        ("openai/gpt-4o", OPENAI, (100_000, 10), 0.12635),
        ("deepseek/deepseek-chat", DEEPSEEK, (100_000, 1), 0.0072),
        ("openrouter/nobody/knows", {**PLAIN, "cost": 0.1234}, (30, 2), 0.1234),
        ("openrouter/openai/gpt-4o", {**PLAIN, "cost": 0.1234}, (30, 2), 0.1234),
        ("openrouter/openai/gpt-4o", {**PLAIN, "cost": 0}, (30, 2), 0.0),
        (
            "openrouter/openai/gpt-4o",
            {**PLAIN, "cost": 0.001, "is_byok": True, "cost_details": {"upstream_inference_cost": 0.02}},
            (30, 2),
            0.021,
        ),
        (
            "openrouter/openai/gpt-4o",
            {**PLAIN, "cost": 0.02, "is_byok": False, "cost_details": {"upstream_inference_cost": 0.025}},
            (30, 2),
            0.02,
        ),
        ("openrouter/anthropic/claude-sonnet-4.5", {**PLAIN, "prompt_tokens": 10_000, **WRITTEN}, (10_000, 2), 0.03753),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
async def test_a_chat_completion_costs_what_its_provider_charges(
    model: str, report: Report, tokens: tuple[int, int], cost: float
) -> None:
    used = await bill(model, Reply(usage_report=report))

    assert (used.input_tokens, used.output_tokens) == tokens
    assert used.cost_usd == pytest.approx(cost, rel=0.001)


CACHING = {"input_tokens": 5, "cache_read_input_tokens": 100_000, "cache_creation_input_tokens": 50_000}
AN_HOUR = {"cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 50_000}}


@pytest.mark.parametrize(
    ("first", "last", "tokens", "cost"),
    [
        ({**CACHING, "output_tokens": 1}, {"output_tokens": 7}, (150_005, 7), 0.21762),
        ({**CACHING, **AN_HOUR, "output_tokens": 1}, {"output_tokens": 7}, (150_005, 7), 0.33012),
        ({"input_tokens": 0, "output_tokens": 0}, {"input_tokens": 1234, "output_tokens": 7}, (1234, 7), 0.003807),
        ({"input_tokens": 90, "output_tokens": 1}, {"input_tokens": 80, "output_tokens": 7}, (80, 7), 0.000345),
        ({"input_tokens": 90, "output_tokens": 1}, {"input_tokens": 0, "output_tokens": 7}, (90, 7), 0.000375),
    ],
)
async def test_a_message_costs_what_its_provider_charges(
    first: Report, last: Report, tokens: tuple[int, int], cost: float
) -> None:
    used = await bill("anthropic/claude-sonnet-4-5", Reply(first_usage=first, usage_report=last))

    assert (used.input_tokens, used.output_tokens) == tokens
    assert used.cost_usd == pytest.approx(cost, rel=0.001)


@pytest.mark.parametrize(
    ("header", "cost"), [("0.0321", 0.0321), ("0.0", None), ("None", None), ("nan", None), ("-1", None)]
)
async def test_the_price_in_litellms_header_counts_where_there_is_one(header: str, cost: float | None) -> None:
    reply = Reply(usage_report=PLAIN, headers={"x-litellm-response-cost": header})

    assert (await bill("nous/Hermes-4-70B", reply)).cost_usd == cost


async def test_the_price_in_the_usage_is_newer_than_that_in_the_header() -> None:
    reply = Reply(usage_report={**PLAIN, "cost": 0.5}, headers={"x-litellm-response-cost": "0.1"})

    assert (await bill("openai/gpt-4o", reply)).cost_usd == 0.5


async def test_the_parts_of_a_count_are_kept() -> None:
    read = await bill("openai/gpt-4o", Reply(usage_report=OPENAI))
    thought = await bill("xai/grok-4", Reply(usage_report=XAI))
    stored = await bill("anthropic/claude-sonnet-4-5", Reply(first_usage={**CACHING, **AN_HOUR}))

    assert (read.cached_tokens, thought.reasoning_tokens) == (99_000, 9400)
    assert (stored.cached_tokens, stored.cache_write_tokens, stored.cache_write_1h_tokens) == (100_000, 50_000, 50_000)


async def test_a_price_that_only_the_provider_knows_is_kept_for_an_answer_without_text() -> None:
    with pytest.raises(ProviderError) as caught:
        await bill("openrouter/nobody/knows", Reply("", thinking="Hm.", usage_report={**PLAIN, "cost": 0.25}))

    assert caught.value.usage.cost_usd == 0.25
