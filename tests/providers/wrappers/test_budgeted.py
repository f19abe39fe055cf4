"""What is asked for is what is reserved, where a ceiling of the run leaves an answer less than it wanted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from moa_mcp.domain.errors import ProviderError, Reason
from moa_mcp.domain.model import Call, ChatCall, Draft, EmbedCall, Message, Usage
from moa_mcp.domain.preset import Limits
from moa_mcp.providers.base import ignore_text
from moa_mcp.providers.budget import MAX_OUTPUT_TOKENS, Budget
from moa_mcp.providers.prices import Rates
from moa_mcp.providers.usage import UsageTracker
from moa_mcp.providers.wrappers.adapting import AdaptToModel, ModelForms
from moa_mcp.providers.wrappers.budgeted import BudgetLimit
from moa_mcp.providers.wrappers.retrying import RetryBudget
from moa_mcp.testing.scripted import ScriptedProvider
from tests.results import as_draft, chats, embeddings

RATES = Rates(1e-6, 1e-5)


def budgeted(inner: ScriptedProvider, rates: Rates = RATES, **limits: float) -> BudgetLimit:
    return BudgetLimit(inner, Budget(Limits.model_validate(limits)), UsageTracker(), lambda _: rates)


def thinks_all_it_may(call: Call) -> Draft:
    """Bills as many tokens as it is allowed, and shows few of them."""
    written = min(chats([call])[0].max_tokens or 60_000, 60_000)
    return Draft("blue", usage=Usage(7, written, written * 1e-5))


@pytest.mark.parametrize("most", [60_000, None])
async def test_an_answer_that_gets_less_than_it_wanted_is_sent_with_that_limit(
    make_call: Callable[..., Call], most: int | None
) -> None:
    provider = ScriptedProvider(thinks_all_it_may)
    draft = await budgeted(provider, max_cost_usd=0.05).complete(make_call(max_tokens=most), ignore_text)

    assert [call.max_tokens for call in chats(provider.calls)] == [4999]
    assert (draft.usage.cost_usd or 0) <= 0.05


@pytest.mark.parametrize("most", [500, None])
async def test_where_there_is_room_a_call_is_sent_as_it_is(make_call: Callable[..., Call], most: int | None) -> None:
    provider = ScriptedProvider(lambda _: "blue")
    await budgeted(provider, max_tokens=MAX_OUTPUT_TOKENS + 100, max_cost_usd=1).complete(
        make_call(max_tokens=most), ignore_text
    )

    assert [call.max_tokens for call in chats(provider.calls)] == [most]


def modest(call: Call) -> str | ProviderError:
    """Refuses a max_tokens above 4096."""
    if isinstance(call, ChatCall) and call.max_tokens is not None and call.max_tokens > 4096:
        return ProviderError(Reason.BAD_REQUEST, "max_tokens is too large", parameter="max_tokens")
    return "blue"


def no_limit(call: Call) -> str | ProviderError:
    """Knows no max_tokens, by any name."""
    if isinstance(call, ChatCall) and call.max_tokens is not None:
        return ProviderError(Reason.BAD_REQUEST, "Unsupported parameter: max_tokens", parameter="max_tokens")
    return "blue"


def adapting(inner: BudgetLimit) -> AdaptToModel:
    return AdaptToModel(inner, ModelForms(), "0" * 16, RetryBudget(3))


async def test_a_model_that_refuses_the_limit_is_asked_without_it(make_call: Callable[..., Call]) -> None:
    provider = ScriptedProvider(modest)
    draft = as_draft(await adapting(budgeted(provider, max_tokens=6000)).complete(make_call(), ignore_text))

    assert [call.max_tokens for call in chats(provider.calls)] == [5993, None]
    assert draft.notes == ("max_tokens was not sent: the model refuses it",)


async def test_a_model_that_knows_no_limit_is_never_sent_one_again(make_call: Callable[..., Call]) -> None:
    provider = ScriptedProvider(no_limit)
    asking = adapting(budgeted(provider, max_tokens=6000))
    await asking.complete(make_call(), ignore_text)
    await asking.complete(make_call(id="c2", max_tokens=500), ignore_text)

    assert [call.max_tokens for call in chats(provider.calls)] == [5993, 5993, None, None]


async def test_a_model_that_refuses_the_calls_own_limit_is_asked_without_it(make_call: Callable[..., Call]) -> None:
    provider = ScriptedProvider(modest)
    limited = adapting(budgeted(provider, max_tokens=6000))
    draft = as_draft(await limited.complete(make_call(max_tokens=9000), ignore_text))

    assert [call.max_tokens for call in chats(provider.calls)] == [5993, None]
    assert draft.notes == ("max_tokens was not sent: the model refuses 9000",)


async def test_a_text_beyond_ascii_is_reserved_by_its_characters(make_call: Callable[..., Call]) -> None:
    provider = ScriptedProvider(lambda _: "blue")
    question = (Message("user", "\u6c49" * 3000),)
    with pytest.raises(ProviderError, match="2,000 tokens"):
        await budgeted(provider, max_tokens=2000).complete(make_call(messages=question, max_tokens=10), ignore_text)

    assert provider.calls == []


async def test_a_long_request_is_reserved_at_the_rates_of_long_requests(make_call: Callable[..., Call]) -> None:
    rates = Rates(1e-6, 1e-5, ((1000, Rates(2e-6, 2e-5)),))
    provider = ScriptedProvider(lambda _: "blue")
    long = (Message("user", "Why? " * 900),)
    short = await budgeted(provider, rates).complete(make_call(max_tokens=10), ignore_text)
    dear = await budgeted(provider, rates).complete(make_call(messages=long, max_tokens=10), ignore_text)

    assert short.usage.cost_usd == pytest.approx(7e-6 + 2e-5)
    assert dear.usage.cost_usd == pytest.approx(1500 * 2e-6 + 2 * 2e-5)


async def test_embeddings_write_nothing_and_cost_what_the_provider_counted(make_call: Callable[..., Call]) -> None:
    counted = Usage(7, 0, 7e-6)
    provider = ScriptedProvider(lambda _: replace(embeddings([0.1] * 1000), usage=counted))
    result = await budgeted(provider).complete(make_call(EmbedCall), ignore_text)

    assert result.usage == counted
