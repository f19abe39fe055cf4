"""What a draft is said to have cost."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from moa_mcp.domain.endpoints import BUILTIN, Endpoint
from moa_mcp.domain.model import Call, Draft, Usage
from moa_mcp.providers.base import ignore_text
from moa_mcp.providers.prices import Rates, rates
from moa_mcp.providers.registry import Registry
from moa_mcp.providers.wrappers.pricing import Pricing
from moa_mcp.testing.scripted import ScriptedProvider

OPUS = "openrouter/anthropic/claude-opus-4.8"
OPENROUTER = BUILTIN["openrouter"]


def price(model: str, read: int, written: int) -> float:
    known = rates(model)
    assert known is not None
    return known.cost(Usage(read, written))


async def cost(endpoint: Endpoint, draft: Draft, call: Call) -> float | None:
    metered = Pricing(ScriptedProvider(lambda _: draft), endpoint.name, Registry({endpoint.name: endpoint}, {}).rates)
    return (await metered.complete(call, ignore_text)).usage.cost_usd


async def test_a_draft_costs_what_the_model_that_answered_costs(make_call: Callable[..., Call]) -> None:
    draft = Draft("blue", "openai/gpt-5.5", usage=Usage(1000, 100))

    assert await cost(OPENROUTER, draft, make_call(model=OPUS)) == pytest.approx(
        price("openrouter/openai/gpt-5.5", 1000, 100)
    )


@pytest.mark.parametrize("served", [None, "somebody/nobody-knows"])
async def test_a_model_that_is_not_known_is_priced_as_the_one_that_was_asked(
    make_call: Callable[..., Call], served: str | None
) -> None:
    draft = Draft("blue", served, usage=Usage(1000, 100))

    assert await cost(OPENROUTER, draft, make_call(model=OPUS)) == pytest.approx(price(OPUS, 1000, 100))


async def test_a_price_that_nobody_knows_is_unknown_and_not_zero(make_call: Callable[..., Call]) -> None:
    assert await cost(Endpoint("lab"), Draft("blue", usage=Usage(1000, 100)), make_call()) is None


@pytest.mark.parametrize("usage", [Usage(), Usage(1000, None), Usage(None, 100)])
async def test_without_both_counts_there_is_no_price(make_call: Callable[..., Call], usage: Usage) -> None:
    assert await cost(OPENROUTER, Draft("blue", usage=usage), make_call(model=OPUS)) is None


async def test_what_is_local_costs_nothing_even_uncounted(make_call: Callable[..., Call]) -> None:
    assert await cost(BUILTIN["ollama"], Draft("blue"), make_call(model="ollama/owl")) == 0.0


async def test_all_else_of_the_draft_stays_as_it_is(make_call: Callable[..., Call]) -> None:
    draft = Draft("blue", "owl", "stop", Usage(1, 2), thinking="hm", cut=True)
    metered = Pricing(ScriptedProvider(lambda _: draft), "lab", rates)

    assert await metered.complete(make_call(), ignore_text) == draft


async def test_the_bill_is_by_the_rates_that_it_is_given(make_call: Callable[..., Call]) -> None:
    draft = Draft("blue", usage=Usage(1000, 100))
    metered = Pricing(ScriptedProvider(lambda _: draft), "lab", lambda model: Rates(0.5, 2.0))

    assert (await metered.complete(make_call(), ignore_text)).usage.cost_usd == 700.0
