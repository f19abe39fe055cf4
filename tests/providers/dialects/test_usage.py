"""The shapes in which services report usage, and those that no service should."""

from __future__ import annotations

import json
from typing import Any

import pytest

from moa_mcp.domain.usage import Usage
from moa_mcp.providers.dialects.anthropic import AnthropicReader
from moa_mcp.providers.dialects.openai import OpenAIReader
from moa_mcp.providers.dialects.usage import anthropic_usage, merged, openai_usage

PLAIN = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}


@pytest.mark.parametrize(
    "report",
    [
        {"prompt_tokens_details": {"cached_tokens": 64}},
        {"prompt_cache_hit_tokens": 64, "prompt_cache_miss_tokens": 36},
        {"cached_tokens": 64},
        {"cache_read_input_tokens": 64, "prompt_tokens_details": {"cached_tokens": 64}},
    ],
)
def test_cached_tokens_are_a_part_of_the_input(report: dict[str, Any]) -> None:
    assert openai_usage({**PLAIN, **report}) == Usage(100, 20, cached_tokens=64)


def test_cached_tokens_that_are_more_than_the_input_were_counted_beside_it() -> None:
    report = {"prompt_tokens": 5, "completion_tokens": 7, "cache_read_input_tokens": 100, "total_tokens": 112}

    assert openai_usage(report) == Usage(105, 7, cached_tokens=100)


@pytest.mark.parametrize(
    ("report", "written"),
    [
        ({"completion_tokens": 20, "completion_tokens_details": {"reasoning_tokens": 15}, "total_tokens": 120}, 20),
        ({"completion_tokens": 20, "completion_tokens_details": {"reasoning_tokens": 15}, "total_tokens": 135}, 35),
        ({"completion_tokens": 20, "completion_tokens_details": {"reasoning_tokens": 15}}, 20),
        ({"completion_tokens": 5, "reasoning_tokens": 15}, 20),
        ({"completion_tokens": 20, "total_tokens": 3}, 20),
        ({"completion_tokens": None, "total_tokens": 130}, 30),
    ],
)
def test_thoughts_are_a_part_of_the_output_wherever_they_are_counted(report: dict[str, Any], written: int) -> None:
    assert openai_usage({"prompt_tokens": 100, **report}).output_tokens == written


@pytest.mark.parametrize("value", ["12", True, -5, [1], {"a": 1}, 10**15, float("nan")])
def test_a_count_or_price_of_a_wrong_type_is_unknown(value: object) -> None:
    report = {"prompt_tokens": value, "completion_tokens": value, "prompt_tokens_details": value}

    assert openai_usage(report) == Usage()
    assert openai_usage({"cost": value}).cost_usd is None
    assert (
        anthropic_usage({"input_tokens": value, "cache_read_input_tokens": value, "cache_creation": value}) == Usage()
    )


@pytest.mark.parametrize(
    ("report", "cost"),
    [
        ({"cost": {"total_cost": 0.006, "input_tokens_cost": 0.001}}, 0.006),
        ({"estimated_cost": 0.003}, 0.003),
        ({"cost": 0, "is_byok": True, "cost_details": {"upstream_inference_cost": None}}, None),
        ({"cost": 0.95, "cost_details": {"upstream_inference_cost": 19}}, 19.95),
        ({"cost": 0.95, "cost_details": {"upstream_inference_cost": 0.95}}, 0.95),
    ],
)
def test_prices_are_read_where_providers_put_them(report: dict[str, Any], cost: float | None) -> None:
    assert openai_usage(report).cost_usd == cost


def test_a_later_report_counts_and_an_empty_one_does_not() -> None:
    reports: list[object] = [PLAIN, {**PLAIN, "completion_tokens": 30}, None, {}, {"completion_tokens": 0, "cost": "x"}]
    report: dict[str, Any] = {}
    for each in reports:
        report = merged(report, each)

    assert openai_usage({**report, "total_tokens": None}) == Usage(100, 30)


@pytest.mark.parametrize(
    "chunk",
    [
        '{"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 4}}',
        '{"choices": [], "x_groq": {"usage": {"prompt_tokens": 3, "completion_tokens": 4}}}',
        '{"choices": [{"delta": {}, "usage": {"prompt_tokens": 3, "completion_tokens": 4}}]}',
    ],
)
def test_usage_is_found_in_each_place_of_a_stream(chunk: str) -> None:
    reader = OpenAIReader()
    reader.feed('{"choices": [{"delta": {"content": "Blue."}, "finish_reason": "stop"}], "usage": null}')
    reader.feed(chunk)
    reader.feed("[DONE]")

    assert reader.reply.draft().usage == Usage(3, 4)


def test_a_message_that_breaks_off_does_not_know_what_it_wrote() -> None:
    reader = AnthropicReader()
    reader.feed('{"type": "message_start", "message": {"usage": {"input_tokens": 25, "output_tokens": 1}}}')

    assert reader.reply.usage == Usage(25, None)


def test_hidden_text_is_reported_by_its_length() -> None:
    reader, pieces = OpenAIReader(), list[str]()
    for delta in ("reasoning_content", "thought " * 100), ("content", "Blue sky above."), ("reasoning_content", "?"):
        chunk = json.dumps({"choices": [{"delta": dict([delta])}]})
        reader.reply.report(reader.feed(chunk), pieces.append)

    assert pieces == [*[""] * 200, "Blue sky above.", ""]
