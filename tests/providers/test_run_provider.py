"""What a call of a run comes to with all that goes around it: every try of it is in what it cost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import anyio
import pytest

from moa_mcp.domain.errors import ProviderError, Reason
from moa_mcp.domain.model import Call, CallRecord, Draft, Run, Task, Usage
from moa_mcp.domain.preset import Aggregator, Limits, Preset
from moa_mcp.providers.base import OnText, Provider, ignore_text, usage_of
from moa_mcp.providers.prices import Rates
from moa_mcp.providers.run_provider import RunProviderFactory
from moa_mcp.providers.wrappers.concurrency_limit import ConcurrencyLimit
from moa_mcp.testing.scripted import ScriptedProvider
from tests.results import as_draft

CENT = Rates(0.01, 0.01)
GOOD = Draft("blue", usage=Usage(10, 20, 0.3))


def empty(retry_after: float | None = None) -> ProviderError:
    """An answer of nothing, after thoughts that were paid for."""
    return ProviderError(Reason.EMPTY, retry_after=retry_after, reached=True, usage=Usage(10, 500))


def in_turn(*replies: Draft | ProviderError) -> ScriptedProvider:
    """Gives these one after another."""
    left = list(replies)
    return ScriptedProvider(lambda _: left.pop(0))


def provider_of(
    inner: Provider, rates: Rates | None = CENT, before: tuple[CallRecord, ...] = (), max_calls: int | None = None
) -> Provider:
    """The provider of a run of one planned call."""
    plan = Preset(layers=1, aggregator=Aggregator(model="lab/owl"))
    run = Run("r1", "one", plan, Task("Why?"), calls=before, limits=Limits(max_calls=max_calls), planned_calls=1)
    return RunProviderFactory(inner, lambda _: rates, lambda: 0.0)(run)


async def test_a_try_that_was_paid_for_and_retried_is_in_what_the_draft_cost(make_call: Callable[..., Call]) -> None:
    draft = await provider_of(in_turn(empty(), GOOD)).complete(make_call(), ignore_text)

    assert (draft.usage.attempts, draft.usage.input_tokens, draft.usage.output_tokens) == (2, 20, 520)
    assert draft.usage.cost_usd == pytest.approx(5.1 + 0.3)
    assert draft.usage.estimated


async def test_a_try_that_was_paid_for_and_adapted_is_in_what_the_draft_cost(make_call: Callable[..., Call]) -> None:
    refused = replace(empty(), reason=Reason.BAD_REQUEST, detail="temperature: range: 0..1", parameter="temperature")
    draft = await provider_of(in_turn(refused, GOOD)).complete(make_call(temperature=1.5), ignore_text)

    assert (draft.usage.attempts, draft.usage.output_tokens) == (2, 520)


async def test_the_last_error_says_what_all_tries_cost(make_call: Callable[..., Call]) -> None:
    gone = ProviderError(Reason.AUTH)
    with pytest.raises(ProviderError) as caught:
        await provider_of(in_turn(empty(), gone)).complete(make_call(), ignore_text)

    assert (caught.value.reason, caught.value.usage.output_tokens) == (Reason.AUTH, 500)
    assert caught.value.usage.cost_usd == pytest.approx(5.1)


async def test_a_try_that_reached_nobody_costs_nothing(make_call: Callable[..., Call]) -> None:
    draft = await provider_of(in_turn(ProviderError(Reason.UNAVAILABLE), GOOD)).complete(make_call(), ignore_text)

    assert draft.usage == replace(GOOD.usage, attempts=2)


async def test_one_try_without_a_known_price_leaves_the_price_of_the_call_unknown(
    make_call: Callable[..., Call],
) -> None:
    draft = await provider_of(in_turn(empty(), GOOD), None).complete(make_call(), ignore_text)

    assert (draft.usage.output_tokens, draft.usage.cost_usd) == (520, None)


class Unending:
    """Says a part of an answer, and no more."""

    async def complete(self, call: Call, on_text: OnText) -> Draft:
        on_text("word " * 600)
        await anyio.sleep_forever()
        raise AssertionError


async def test_the_provider_of_a_run_knows_what_a_call_came_to_that_was_cut_off(make_call: Callable[..., Call]) -> None:
    provider = provider_of(Unending())
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(provider.complete, make_call(), ignore_text)
        await anyio.wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()

    assert usage_of(provider, make_call()) == Usage(7, 1000, 7 * 0.01 + 1000 * 0.01, estimated=True)
    assert usage_of(provider, make_call(id="c2")) == Usage(attempts=0)


async def test_a_call_that_is_cancelled_while_it_waits_for_its_turn_was_not_sent(
    make_call: Callable[..., Call],
) -> None:
    provider = provider_of(ConcurrencyLimit(Unending(), max_concurrency=1))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(provider.complete, make_call(), ignore_text)
        tasks.start_soon(provider.complete, make_call(id="c2"), ignore_text)
        await anyio.wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()

    assert usage_of(provider, make_call()).attempts == 1
    assert usage_of(provider, make_call(id="c2")) == Usage(attempts=0)


async def test_a_call_cut_off_while_it_waits_to_be_tried_again_keeps_what_it_came_to(
    make_call: Callable[..., Call],
) -> None:
    later = empty(retry_after=30)
    provider = provider_of(in_turn(later))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(provider.complete, make_call(), ignore_text)
        await anyio.wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()

    assert usage_of(provider, make_call()).output_tokens == 500


def test_of_a_provider_that_keeps_no_account_nothing_is_known(make_call: Callable[..., Call]) -> None:
    assert usage_of(in_turn(), make_call()) == Usage()


async def test_a_second_try_of_a_judge_takes_no_call_that_was_planned(make_call: Callable[..., Call]) -> None:
    provider = provider_of(in_turn(GOOD), max_calls=1)
    with pytest.raises(ProviderError, match="needed for the rest of the plan") as caught:
        await provider.complete(make_call(id="1.judge.again", repeat_of="1.judge"), ignore_text)

    assert caught.value.reason is Reason.BUDGET
    assert (as_draft(await provider.complete(make_call(), ignore_text))).text == "blue"


@pytest.mark.parametrize("most", [None, 2])
async def test_a_second_try_is_made_where_there_is_room_for_it(
    make_call: Callable[..., Call], most: int | None
) -> None:
    provider = provider_of(in_turn(GOOD, GOOD), max_calls=most)
    for call in (make_call(id="1.judge.again", repeat_of="1.judge"), make_call(id="2.1")):
        assert (as_draft(await provider.complete(call, ignore_text))).text == "blue"


async def test_what_a_run_had_used_up_before_it_was_resumed_is_to_spare_no_more(make_call: Callable[..., Call]) -> None:
    before = CallRecord(make_call(id="1.judge.again", repeat_of="1.judge"), GOOD, 1.0)
    provider = provider_of(in_turn(GOOD), CENT, (before,), max_calls=2)
    with pytest.raises(ProviderError, match="needed for the rest of the plan"):
        await provider.complete(make_call(id="1.other.again", repeat_of="1.other"), ignore_text)

    assert (as_draft(await provider.complete(make_call(id="2.1"), ignore_text))).text == "blue"
