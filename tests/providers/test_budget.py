"""Reserve, extend, settle: no order of calls passes a ceiling."""

from __future__ import annotations

from collections.abc import Callable

import anyio
import anyio.lowlevel
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moa_mcp.domain.errors import ProviderError, Reason
from moa_mcp.domain.model import Call, CallRecord, CodeCall, Draft, Failure, PanelCall, Usage
from moa_mcp.domain.preset import Limits
from moa_mcp.domain.spend import Spend
from moa_mcp.providers.budget import (
    EXTENSION_TOKENS,
    MAX_OUTPUT_TOKENS,
    MIN_OUTPUT_TOKENS,
    Budget,
    Outlay,
    Reservation,
    estimate_tokens,
)
from moa_mcp.providers.prices import Rates

CENT = Rates(0.01, 0.01)


def wanted(read: int, written: int, rates: Rates | None = CENT) -> Reservation:
    return Reservation(read, written, rates)


def test_a_call_wants_its_input_and_all_that_it_may_write(make_call: Callable[..., Call]) -> None:
    open_end = Reservation.for_call(make_call(), CENT)
    limited = Reservation.for_call(make_call(max_tokens=7), CENT)

    assert (open_end.input_tokens, open_end.output_tokens) == (7, MAX_OUTPUT_TOKENS)
    assert limited.cost_usd == pytest.approx(0.14)
    assert Reservation.for_call(make_call(), None).cost_usd == 0


async def test_a_reservation_takes_what_is_left_once_nobody_can_give_back() -> None:
    budget = Budget(Limits(max_tokens=3000))
    held = wanted(500, 8192)
    await budget.reserve(held)

    assert held.output_tokens == 2500


async def test_too_little_for_an_answer_is_refused_with_what_is_left() -> None:
    budget = Budget(Limits(max_tokens=1000, max_cost_usd=1))
    with pytest.raises(ProviderError) as caught:
        await budget.reserve(wanted(10, MIN_OUTPUT_TOKENS, None))

    assert caught.value.reason is Reason.BUDGET
    assert "1,000 tokens and $1.0000 left" in caught.value.detail


async def test_a_call_waits_for_what_others_will_give_back() -> None:
    budget = Budget(Limits(max_cost_usd=1))
    first, second = wanted(0, 80), wanted(0, 80)
    await budget.reserve(first)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(budget.reserve, second)
        await anyio.wait_all_tasks_blocked()
        budget.settle(first, Usage(0, 20, 0.2))

    assert second.output_tokens == 80


async def test_a_cancelled_wait_gives_its_call_back() -> None:
    budget = Budget(Limits(max_calls=2, max_cost_usd=1))
    first = wanted(0, 80)
    await budget.reserve(first)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(budget.reserve, wanted(0, 80))
        await anyio.wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()
    budget.settle(first, Usage(0, 1, 0.01))
    last = wanted(0, 80)
    await budget.reserve(last)

    assert last.output_tokens == 80


async def test_a_reservation_that_is_outgrown_is_extended_as_long_as_there_is_room() -> None:
    budget = Budget(Limits(max_tokens=2 * EXTENSION_TOKENS))
    held = wanted(0, 10)
    await budget.reserve(held)

    assert (budget.extend(held), held.output_tokens) == (True, 10 + EXTENSION_TOKENS)
    assert not budget.extend(held)


async def test_what_a_resumed_run_has_paid_counts(make_call: Callable[..., Call]) -> None:
    budget = Budget(Limits(max_calls=2))
    budget.count_resumed(CallRecord(make_call(), Draft("blue", usage=Usage(attempts=2)), 1.0))

    with pytest.raises(ProviderError, match="no calls are left"):
        await budget.reserve(wanted(1, 1))


@pytest.mark.parametrize("kind", [CodeCall, PanelCall])
async def test_a_resumed_run_counts_no_program_and_no_panel_as_a_call(
    make_call: Callable[..., Call], kind: type[Call]
) -> None:
    budget = Budget(Limits(max_calls=1))
    for _ in range(3):
        budget.count_resumed(CallRecord(make_call(kind), Draft("{}", usage=Usage(0, 0, 0.0)), 1.0))
    held = wanted(1, 1)
    await budget.reserve(held)

    assert held.output_tokens == 1


async def test_a_resumed_run_counts_no_call_that_its_budget_had_refused(make_call: Callable[..., Call]) -> None:
    budget = Budget(Limits(max_calls=1))
    budget.count_resumed(CallRecord(make_call(), Failure(Reason.BUDGET, "$0.0000 left", usage=Usage(attempts=0)), 1.0))
    held = wanted(1, 1)
    await budget.reserve(held)

    assert held.output_tokens == 1


class Given:
    """A day that gives up to `most` calls, and any number of tokens and dollars."""

    def __init__(self, outlay: Outlay, calls: int, most: int) -> None:
        self.amount, self.sent = Spend(calls), Spend()
        self.writes = self.wishes = 0
        self.exhausted = False
        self._outlay = outlay
        self._most = Spend(most, 10**9, 10.0**6)

    async def book(self) -> None:
        self.writes += 1
        await anyio.lowlevel.checkpoint()
        self.sent, self.amount = self._outlay.sent, self._outlay.wanted().at_most(self._most).at_least(self.amount)

    def book_soon(self) -> None:
        self.wishes += 1


def drawing(planned: int, calls: int, most: int) -> tuple[Budget, Outlay, Given]:
    outlay = Outlay(planned)
    budget, day = Budget(Limits(), outlay), Given(outlay, calls, most)
    budget.draw_on(day)
    return budget, outlay, day


def one(call: str, *, again: bool = False) -> Reservation:
    return Reservation(1, 10, CENT, call, again)


async def test_a_call_is_booked_in_the_day_before_it_has_its_reservation() -> None:
    budget, outlay, day = drawing(2, 0, 2)
    await budget.reserve(one("c1"))

    assert day.sent == outlay.sent == one("c1").spend
    assert day.amount.covers(Spend(2))


async def test_calls_that_were_announced_are_booked_at_once() -> None:
    budget, outlay, day = drawing(2, 0, 2)
    outlay.announce([one("c1"), one("c2")])
    await day.book()
    for call in ("c1", "c2"):
        await budget.reserve(one(call))

    assert (day.writes, outlay.sent) == (1, one("c1").spend + one("c2").spend)


async def test_a_day_is_asked_for_more_where_it_is_short_and_a_call_that_it_has_no_room_for_is_refused() -> None:
    budget, _, day = drawing(1, 1, 2)
    for call in ("c1", "c2"):
        await budget.reserve(one(call))
    with pytest.raises(ProviderError, match="day has no calls left") as refused:
        await budget.reserve(one("c3"))

    assert (refused.value.reason, day.amount.calls) == (Reason.BUDGET, 2)


@pytest.mark.parametrize("again", [one("c1"), one("c2.again", again=True)], ids=["retry", "second try"])
async def test_what_asks_again_takes_no_call_that_was_planned(again: Reservation) -> None:
    budget, _, day = drawing(2, 2, 2)
    first = one("c1")
    await budget.reserve(first)
    budget.settle(first, Usage(1, 1, 0.1))
    with pytest.raises(ProviderError):
        await budget.reserve(again)
    await budget.reserve(one("c2"))

    assert day.sent.calls == 2


async def test_an_answer_that_grows_has_the_day_asked_for_more_in_time() -> None:
    budget, _, day = drawing(1, 0, 1)
    held = one("c1")
    await budget.reserve(held)

    assert (budget.extend(held), day.wishes) == (True, 1)
    await day.book()
    assert budget.extend(held)


async def test_an_answer_that_comes_faster_than_the_day_is_asked_is_cut_only_once_the_day_has_no_more() -> None:
    budget, _, day = drawing(1, 0, 1)
    held = one("c1")
    await budget.reserve(held)

    assert [budget.extend(held) for _ in range(20)] == [True] * 20
    day.exhausted = True
    assert not budget.extend(held)
    await day.book()
    assert budget.extend(held)


async def test_a_call_that_was_not_sent_gives_its_call_back() -> None:
    budget, outlay, _ = drawing(1, 0, 1)
    held = one("c1")
    await budget.reserve(held)
    budget.settle(held, Usage(attempts=0))

    assert outlay.sent == Spend()


@pytest.mark.parametrize(("text", "tokens"), [("", 0), ("Why?!?", 2), ("\u6c49\u5b57", 2), ("Warum \u00fc\u00df", 4)])
def test_tokens_are_rather_counted_too_many_and_one_for_each_character_beyond_ascii(text: str, tokens: int) -> None:
    assert estimate_tokens(text) == tokens


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(1, 50), st.floats(0, 1)), max_size=30))
def test_no_order_of_honest_calls_passes_a_ceiling(calls: list[tuple[int, int, float]]) -> None:
    async def spend() -> float:
        budget = Budget(Limits(max_cost_usd=1.0))
        spent = 0.0
        for read, written, share in calls:
            held = wanted(read, written)
            try:
                await budget.reserve(held)
            except ProviderError:
                continue
            used = Usage(read, out := int(held.output_tokens * share), (read + out) * 0.01)
            spent += used.cost_usd or 0
            budget.settle(held, used)
        return spent

    assert anyio.run(spend) <= 1.0 + 1e-9
