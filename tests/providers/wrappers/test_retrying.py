"""The one retry loop."""

from __future__ import annotations

from collections.abc import Callable

import anyio
import pytest

from moa_mcp.domain.errors import ProviderError, Reason
from moa_mcp.domain.model import Call, Result
from moa_mcp.providers.base import ignore_text
from moa_mcp.providers.wrappers.retrying import RetryBudget, Retrying
from moa_mcp.testing.scripted import ScriptedProvider
from tests.results import as_draft

BUSY = ProviderError(Reason.UNAVAILABLE)


def failing(*errors: ProviderError) -> ScriptedProvider:
    """Raises these one after another, then answers."""
    left = list(errors)
    return ScriptedProvider(lambda _: left.pop(0) if left else "blue")


def at_once() -> float:
    return 0.0


async def test_what_may_succeed_is_asked_again_until_it_does(make_call: Callable[..., Call]) -> None:
    provider = failing(BUSY, ProviderError(Reason.OVERLOADED))
    draft = as_draft(await Retrying(provider, RetryBudget(3), at_once).complete(make_call(), ignore_text))

    assert (draft.text, len(provider.calls)) == ("blue", 3)


async def test_the_last_error_is_raised(make_call: Callable[..., Call]) -> None:
    provider = ScriptedProvider(lambda _: ProviderError(Reason.UNAVAILABLE))
    with pytest.raises(ProviderError) as caught:
        await Retrying(provider, RetryBudget(3), at_once).complete(make_call(), ignore_text)

    assert (caught.value.reason, len(provider.calls)) == (Reason.UNAVAILABLE, 3)


async def test_a_retry_that_there_is_no_room_for_leaves_the_error_that_it_was_for(
    make_call: Callable[..., Call],
) -> None:
    provider = failing(BUSY, ProviderError(Reason.BUDGET))
    with pytest.raises(ProviderError) as caught:
        await Retrying(provider, RetryBudget(3), at_once).complete(make_call(), ignore_text)

    assert caught.value.reason is Reason.UNAVAILABLE


async def test_all_calls_of_a_run_share_one_allowance(make_call: Callable[..., Call]) -> None:
    provider = ScriptedProvider(lambda _: ProviderError(Reason.UNAVAILABLE))
    retrying = Retrying(provider, RetryBudget(3), at_once)
    for _ in range(4):
        with pytest.raises(ProviderError):
            await retrying.complete(make_call(), ignore_text)

    assert len(provider.calls) == 4 + 3


@pytest.mark.parametrize(
    ("planned", "most", "left"), [(1, None, 3), (13, None, 3), (40, None, 8), (13, 40, 3), (13, 14, 1), (13, 13, 0)]
)
def test_the_allowance_is_a_fifth_and_three_at_least_but_leaves_room_for_the_plan(
    planned: int, most: int | None, left: int
) -> None:
    assert RetryBudget.for_plan(planned, most).left == left


async def test_a_wait_that_would_not_end_in_time_is_not_begun(make_call: Callable[..., Call]) -> None:
    provider = failing(ProviderError(Reason.RATE_LIMITED, retry_after=30))
    allowance = RetryBudget(3)
    with anyio.fail_after(5), pytest.raises(ProviderError):
        await Retrying(provider, allowance, at_once).complete(make_call(), ignore_text)

    assert (len(provider.calls), allowance.left) == (1, 3)


async def test_a_cancelled_wait_asks_nobody(make_call: Callable[..., Call]) -> None:
    provider = failing(ProviderError(Reason.RATE_LIMITED, retry_after=30))
    drafts: list[Result] = []

    async def ask() -> None:
        drafts.append(await Retrying(provider, RetryBudget(3), at_once).complete(make_call(), ignore_text))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask)
        await anyio.wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()

    assert (len(provider.calls), drafts) == (1, [])
