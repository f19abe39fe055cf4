"""Prices by our model ids, offline."""

from __future__ import annotations

import subprocess
import sys

import pytest

from moa_mcp.domain.endpoints import BUILTIN
from moa_mcp.domain.usage import Usage
from moa_mcp.providers.prices import rates


def price(model: str, read: int, written: int) -> float | None:
    known = rates(model)
    return None if known is None else known.cost(Usage(read, written))


def test_a_price_is_the_sum_over_its_tokens() -> None:
    known = rates("openai/gpt-4o-mini")

    assert known is not None
    assert 0 < known.input_per_token < known.output_per_token < 0.001
    assert price("openai/gpt-4o-mini", 2000, 500) == pytest.approx(
        2000 * known.input_per_token + 500 * known.output_per_token
    )


@pytest.mark.parametrize(
    "model",
    [
        "openrouter/anthropic/claude-opus-4.8",
        "anthropic/claude-opus-4-8",
        "groq/llama-3.3-70b-versatile",
        "deepseek/deepseek-chat",
        "mistral/mistral-large-latest",
        "xai/grok-4",
    ],
)
def test_models_of_the_built_in_providers_are_found_by_our_ids(model: str) -> None:
    assert price(model, 1000, 1000)


def test_the_price_is_that_of_the_provider_that_is_asked_and_not_of_the_models_maker() -> None:
    assert rates("openrouter/openai/gpt-5.5") is not None
    assert rates("lab/openai/gpt-5.5") is None


def test_a_free_model_costs_nothing_which_is_not_unknown() -> None:
    assert price("openrouter/meta-llama/llama-3.3-70b-instruct:free", 1000, 1000) == 0.0


@pytest.mark.parametrize("model", ["openai/owl-9", "nous/Hermes-4-70B", "ollama/owl", "my-openai-proxy/gpt-4o", "x"])
def test_a_price_that_is_not_known_is_none(model: str) -> None:
    assert price(model, 1000, 1000) is None
    assert rates(model) is None


@pytest.mark.parametrize("model", ["google/gemini-2.5-pro", "anthropic/claude-sonnet-4-5", "openai/gpt-4o-mini"])
@pytest.mark.parametrize("read", [10, 150_000, 200_000, 200_001, 900_000])
def test_the_rates_of_a_request_are_those_of_requests_as_long_as_it_is(model: str, read: int) -> None:
    known = rates(model)

    assert known is not None
    held = known.at(read)
    assert price(model, read, 1000) == pytest.approx(read * held.input_per_token + 1000 * held.output_per_token)


def test_long_requests_of_some_models_cost_more_per_token() -> None:
    known = rates("google/gemini-2.5-pro")

    assert known is not None
    assert known.at(300_000).input_per_token > known.input_per_token


def test_no_tokens_cost_nothing() -> None:
    assert price("openai/gpt-4o-mini", 0, 0) == 0.0


def test_every_built_in_provider_is_asked_about_without_an_error() -> None:
    assert all(price(f"{name}/owl-9", 1, 1) is None for name in BUILTIN)


def test_a_price_is_known_without_a_network_and_without_a_thread_that_would_fetch_one() -> None:
    program = (
        "import socket, sys, threading\n"
        "def refuse(*_): raise OSError('no network here')\n"
        "socket.socket.connect = socket.getaddrinfo = refuse\n"
        "from moa_mcp.providers.prices import rates\n"
        "sys.exit(not (rates('openai/gpt-4o-mini') and threading.active_count() == 1))"
    )

    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
