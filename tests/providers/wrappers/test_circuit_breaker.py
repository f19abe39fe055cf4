"""Models that keep failing rest, by a clock that the test turns."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import anyio
import pytest

from moa_mcp.domain.errors import ProviderError, Reason
from moa_mcp.domain.model import Call, Draft
from moa_mcp.providers.base import OnText, ignore_text
from moa_mcp.providers.wrappers.circuit_breaker import CircuitBreaker
from moa_mcp.testing.scripted import ScriptedProvider


class Bench:
    """A cooling provider whose answers and clock are set from outside."""

    def __init__(self, make_call: Callable[..., Call]) -> None:
        self.now = 100.0
        self.answer: str | ProviderError = "blue"
        self.provider = ScriptedProvider(lambda _: self.answer)
        self._cooling = CircuitBreaker(self.provider, lambda: self.now)
        self._make_call = make_call

    async def ask(self, model: str = "lab/owl") -> Reason | None:
        """Ask a model a second later; the reason of its failure, or None for a draft."""
        self.now += 1
        try:
            await self._cooling.complete(self._make_call(model=model), ignore_text)
        except ProviderError as error:
            return error.reason
        return None

    @property
    def asked(self) -> int:
        return len(self.provider.calls)


@pytest.fixture
def bench(make_call: Callable[..., Call]) -> Bench:
    return Bench(make_call)


@pytest.mark.parametrize(("reason", "seconds"), [(Reason.AUTH, 60), (Reason.BILLING, 300), (Reason.UNKNOWN_MODEL, 60)])
async def test_what_does_not_pass_by_itself_rests_after_one_failure_and_not_for_ever(
    bench: Bench, reason: Reason, seconds: float
) -> None:
    bench.answer = ProviderError(reason)

    assert [await bench.ask(), await bench.ask()] == [reason, Reason.COOLING]
    bench.now += seconds
    bench.answer = "blue"
    assert (await bench.ask(), bench.asked) == (None, 2)


async def test_what_may_pass_rests_after_three_failures_in_a_row(bench: Bench) -> None:
    bench.answer = ProviderError(Reason.UNAVAILABLE)

    assert [await bench.ask() for _ in range(5)] == [Reason.UNAVAILABLE] * 3 + [Reason.COOLING] * 2


async def test_a_success_between_failures_starts_the_count_anew(bench: Bench) -> None:
    for _ in range(3):
        bench.answer = ProviderError(Reason.UNAVAILABLE)
        await bench.ask()
        await bench.ask()
        bench.answer = "blue"
        await bench.ask()

    assert bench.asked == 9


async def test_a_probe_after_the_rest_that_fails_makes_it_rest_again(bench: Bench) -> None:
    bench.answer = ProviderError(Reason.UNAVAILABLE)
    for _ in range(3):
        await bench.ask()
    bench.now += 30

    assert [await bench.ask(), await bench.ask()] == [Reason.UNAVAILABLE, Reason.COOLING]


async def test_calls_side_by_side_that_fail_together_are_one_failure(make_call: Callable[..., Call]) -> None:
    all_asked = anyio.Event()
    asked = 0

    class Down:
        async def complete(self, call: Call, on_text: OnText) -> Draft:
            nonlocal asked
            asked += 1
            if asked == 6:
                all_asked.set()
            await all_asked.wait()
            raise ProviderError(Reason.UNAVAILABLE)

    now = iter(range(100))
    cooling = CircuitBreaker(Down(), lambda: next(now))

    async def ask() -> None:
        with suppress(ProviderError):
            await cooling.complete(make_call(), ignore_text)

    async with anyio.create_task_group() as tasks:
        for _ in range(6):
            tasks.start_soon(ask)
    for _ in range(3):
        await ask()

    assert asked == 6 + 2


@pytest.mark.parametrize("reason", [Reason.EMPTY, Reason.REFUSED, Reason.BAD_REQUEST, Reason.FORBIDDEN, Reason.TIMEOUT])
async def test_faults_of_one_question_make_no_model_rest(bench: Bench, reason: Reason) -> None:
    bench.answer = ProviderError(reason)

    assert [await bench.ask() for _ in range(5)] == [reason] * 5


async def test_a_long_wait_that_was_asked_for_is_kept_but_not_beyond_an_hour(bench: Bench) -> None:
    bench.answer = ProviderError(Reason.RATE_LIMITED, retry_after=1e9)
    assert [await bench.ask(), await bench.ask()] == [Reason.RATE_LIMITED, Reason.COOLING]

    bench.now += 3600
    assert await bench.ask() is Reason.RATE_LIMITED


async def test_no_model_rests_for_another(bench: Bench) -> None:
    bench.answer = ProviderError(Reason.AUTH)
    await bench.ask("lab/owl")
    bench.answer = "blue"

    assert await bench.ask("lab/lynx") is None
