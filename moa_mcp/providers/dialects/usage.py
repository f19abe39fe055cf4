"""Reads what services report of the usage of a call: the same counts under many names, and sometimes the price.

Services differ in what is counted where. In the openai dialect, cached tokens are a part of the input, and thoughts
are usually a part of the output. xAI and Google count thoughts only in the total. In the anthropic dialect, cached
tokens are counted beside the input.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Any

from moa_mcp.domain.usage import Usage
from moa_mcp.providers.dialects.json_access import count, mapping

MAX_PRICE_USD = 1e6
"""More US dollars than any call can cost; a price above it is ignored."""

_INPUT = ("prompt_tokens", "input_tokens")
_OUTPUT = ("completion_tokens", "output_tokens")
_CACHED = (
    "prompt_tokens_details.cached_tokens",
    "input_tokens_details.cached_tokens",
    "prompt_cache_hit_tokens",  # DeepSeek
    "cached_tokens",  # Moonshot
    "cached_prompt_text_tokens",  # xAI, earlier
    "cache_read_input_tokens",  # gateways to Anthropic
)
_STORED = (
    "prompt_tokens_details.cache_write_tokens",
    "prompt_tokens_details.cache_creation_tokens",
    "input_tokens_details.cache_write_tokens",
    "cache_creation_input_tokens",
)
_THOUGHTS = (
    "completion_tokens_details.reasoning_tokens",
    "output_tokens_details.reasoning_tokens",
    "output_tokens_details.thinking_tokens",
    "reasoning_tokens",
)
_STORED_5M, _STORED_1H = "cache_creation.ephemeral_5m_input_tokens", "cache_creation.ephemeral_1h_input_tokens"


def merged(before: Mapping[str, Any], reported: object) -> dict[str, Any]:
    """The newest report of a stream over the earlier ones. What is missing, empty or 0 in it does not replace a value.

    Reports of a stream are running totals, but the last one may lack what an earlier one had.
    """
    new = {key: value for key, value in mapping(reported).items() if not isinstance(value, str)}
    return {**before, **{key: value for key, value in new.items() if value or key not in before}}


def openai_usage(report: Mapping[str, Any]) -> Usage:
    """Read the `usage` of a chat completion or of embeddings."""
    report = _flat(report)
    read, written, total = _count(report, *_INPUT), _count(report, *_OUTPUT), _count(report, "total_tokens")
    cached, stored, thoughts = (_count(report, *names) or 0 for names in (_CACHED, _STORED, _THOUGHTS))
    if read is not None and cached + stored > read:  # counted beside the input, as in the anthropic dialect
        read += cached + stored
    if read is not None and total is not None and total >= read:
        written = max(written or 0, total - read)
    if written is not None and thoughts > written:  # counted beside the output, without a total
        written += thoughts
    hour = min(stored, _count(report, _STORED_1H) or 0)
    return _usage(report, read, written, cached, stored, hour, thoughts)


def anthropic_usage(report: Mapping[str, Any]) -> Usage:
    """Read the `usage` of a message."""
    report = _flat(report)
    fresh, written = _count(report, "input_tokens"), _count(report, "output_tokens")
    cached, hour = _count(report, "cache_read_input_tokens") or 0, _count(report, _STORED_1H) or 0
    stored = max(_count(report, "cache_creation_input_tokens") or 0, hour + (_count(report, _STORED_5M) or 0))
    read = (fresh or 0) + cached + stored
    thoughts = _count(report, "output_tokens_details.thinking_tokens") or 0
    return _usage(report, read or fresh, written, cached, stored, hour, thoughts)


def _usage(
    report: Mapping[str, Any], read: int | None, written: int | None, cached: int, stored: int, hour: int, thoughts: int
) -> Usage:
    return Usage(
        read,
        written,
        _price(report),
        cached_tokens=cached,
        cache_write_tokens=stored,
        cache_write_1h_tokens=hour,
        reasoning_tokens=thoughts,
    )


def price_in_headers(headers: Mapping[str, str]) -> float | None:
    """The price of the call in US dollars that a LiteLLM proxy names in a header; None if there is none.

    0 means that the proxy does not know the price yet, as at the beginning of a stream.
    """
    named = headers.get("x-litellm-response-cost")
    if not named:
        return None
    try:
        return _dollars(float(named)) or None
    except ValueError:
        return None


def _price(report: Mapping[str, Any]) -> float | None:
    """The price in US dollars that OpenRouter, Perplexity or DeepInfra report in the usage; None if there is none.

    With a key of one's own at the provider behind OpenRouter, `cost` is OpenRouter's fee alone, and the provider
    charges `upstream_inference_cost` beside it.
    """
    cost = report.get("cost", report.get("estimated_cost"))
    charged = _dollars(mapping(cost).get("total_cost", cost))
    upstream = _dollars(mapping(report.get("cost_details")).get("upstream_inference_cost"))
    own_key = report.get("is_byok")
    if charged is not None and (own_key is True or (own_key is None and (upstream or 0.0) > charged)):
        return None if upstream is None else charged + upstream
    return charged


def _dollars(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        return None
    return float(value) if 0 <= value <= MAX_PRICE_USD else None


def _flat(report: Mapping[str, Any]) -> dict[str, Any]:
    """The report with the values in its objects beside its own, under the names of both with a dot between them."""
    inner = {f"{name}.{key}": value for name, part in report.items() for key, value in mapping(part).items()}
    return {**report, **inner}


def _count(report: Mapping[str, Any], *names: str) -> int | None:
    """The largest count under any of these names in a flat report. None if there is none."""
    found: int | None = None
    for name in names:
        if name in report and (number := count(report[name])) is not None:
            found = max(number, found or 0)
    return found
