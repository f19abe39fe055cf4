"""The models, windows and prices are read from the lists that services really send."""

from __future__ import annotations

from typing import Any

import pytest

from moa_mcp.domain.endpoints import ModelPrice
from moa_mcp.providers.dialects.model_list import ServedModel, served_models

LISTED: dict[str, tuple[dict[str, Any], ServedModel]] = {
    "openai": ({"id": "gpt-5-mini", "object": "model", "owned_by": "system"}, ServedModel("gpt-5-mini")),
    "openrouter": (
        {
            "id": "qwen/qwen3-235b-a22b",
            "context_length": 131072,
            "pricing": {"prompt": "0.00000018", "completion": "0.00000054", "request": "0", "input_cache_read": "0"},
            "top_provider": {"context_length": 40960},
        },
        ServedModel("qwen/qwen3-235b-a22b", 131072, ModelPrice(0.18, 0.54, 0.0)),
    ),
    "openrouter's router, whose price depends on the request": (
        {"id": "openrouter/auto", "context_length": 2000000, "pricing": {"prompt": "-1", "completion": "-1"}},
        ServedModel("openrouter/auto", 2000000),
    ),
    "together": (
        {"id": "Qwen/Qwen3", "context_length": 40960, "pricing": {"hourly": 0, "input": 0.2, "output": 0.6, "base": 0}},
        ServedModel("Qwen/Qwen3", 40960, ModelPrice(0.2, 0.6)),
    ),
    "vercel": (
        {"id": "xai/grok", "context_window": 256000, "pricing": {"input": "0.000003", "output": "0.000015"}},
        ServedModel("xai/grok", 256000, ModelPrice(3.0, 15.0)),
    ),
    "deepinfra": (
        {
            "id": "org/m",
            "metadata": {"context_length": 8192, "pricing": {"input_tokens": 0.05, "output_tokens": 0.1}},
        },
        ServedModel("org/m", 8192, ModelPrice(0.05, 0.1)),
    ),
    "groq": ({"id": "llama", "context_window": 131072, "active": True}, ServedModel("llama", 131072)),
    "mistral": ({"id": "mistral-small", "max_context_length": 32768}, ServedModel("mistral-small", 32768)),
    "anthropic": (
        {"type": "model", "id": "claude-opus-4-8", "display_name": "Opus", "max_input_tokens": 200000},
        ServedModel("claude-opus-4-8", 200000),
    ),
    "google": ({"id": "models/gemini-3-flash", "object": "model"}, ServedModel("gemini-3-flash")),
    "vllm": ({"id": "m", "max_model_len": 4096, "root": "m"}, ServedModel("m", 4096)),
    "llama.cpp": (
        {"id": "m.gguf", "meta": {"n_ctx_train": 2048, "n_params": 1}},
        ServedModel("m.gguf", trained_window=2048),
    ),
    "lm studio": (
        {"id": "m", "max_context_length": 131072, "loaded_context_length": 4096},
        ServedModel("m", 4096),
    ),
}


@pytest.mark.parametrize("service", LISTED)
def test_an_entry_is_read_with_its_window_and_its_price_per_million_tokens(service: str) -> None:
    entry, model = LISTED[service]

    assert served_models({"object": "list", "data": [entry]}) == [model]


def test_a_bare_list_is_read_too() -> None:
    assert served_models([{"id": "one"}, {"id": "two"}]) == [ServedModel("one"), ServedModel("two")]


@pytest.mark.parametrize(
    "body",
    [None, [], {}, {"data": None}, {"data": ["m", 1, {}, {"id": ""}, {"id": 5}]}, {"error": "no"}, "models"],
)
def test_what_is_no_list_of_models_has_none(body: object) -> None:
    assert served_models(body) == []


@pytest.mark.parametrize("price", ["free", True, "nan", -1, 1e300, None, {"usd": 1}])
def test_what_is_no_price_is_not_read_as_one(price: object) -> None:
    entry = {"id": "m", "context_length": "long", "pricing": {"prompt": price, "completion": "0.000001"}}

    assert served_models({"data": [entry]}) == [ServedModel("m")]
