"""What a run may still use. An amount is reserved before a call is sent, and settled by the call's real usage.

This module makes no calls. Concurrent calls cannot pass a ceiling together as long as each keeps to its
reservation. The estimate of the input is rather too high. Streamed output is limited to the reservation, and a call
that gets less than it wanted is sent with that limit. Only hidden thoughts can still pass a ceiling: those of models
that neither stream them nor were given a limit, by as much as the running calls think. They are known when they are
billed; after that nothing more is sent. If the price of a model is unknown, nothing is reserved for it in dollars: what
its provider reports counts afterwards, and once the dollars are used up, its calls are refused, too.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from math import ceil, inf

import anyio

from moa_mcp.domain.errors import ProviderError, Reason
from moa_mcp.domain.model import Call, CallRecord, ChatCall
from moa_mcp.domain.preset import Limits
from moa_mcp.domain.spend import DUST, Spend
from moa_mcp.domain.usage import NOT_SENT, Usage
from moa_mcp.providers.base import Day
from moa_mcp.providers.prices import Rates

CHARS_PER_TOKEN = 3
"""Fewer than in usual ASCII text, so that estimates are rather too high."""

MAX_OUTPUT_TOKENS = 8192
"""Tokens reserved for the answer of a call without max_tokens."""

MIN_OUTPUT_TOKENS = 1024
"""If fewer tokens than this (or than its max_tokens) are left for the answer, the call is not made."""

EXTENSION_TOKENS = 2048
"""Tokens by which a reservation grows when the answer is longer than it."""


def estimate_tokens(text: str) -> float:
    """Estimate the tokens of a text, rather too many than too few: each non-ASCII character counts as one token."""
    if text.isascii():
        return len(text) / CHARS_PER_TOKEN
    plain = len(text.encode("ascii", "ignore"))
    return len(text) - plain + plain / CHARS_PER_TOKEN


@dataclass(slots=True)
class Reservation:
    """The part of a budget that a call holds: its input tokens, and the output tokens that it may write so far.

    `rates` is None if the price is unknown. `call` is the id of the call. `again` marks a call that repeats a call
    whose answer had the wrong form; such a call is not in the plan.
    """

    input_tokens: int
    output_tokens: int
    rates: Rates | None
    call: str = ""
    again: bool = False

    @classmethod
    def for_call(cls, call: Call, rates: Rates | None) -> Reservation:
        """Estimate a call, at the rates for requests of its length."""
        read = ceil(sum(estimate_tokens(message.text) for message in call.messages))
        written, stores = 0, False
        if isinstance(call, ChatCall):
            written, stores = call.max_tokens or MAX_OUTPUT_TOKENS, call.cache_prefix
        rates = rates and rates.at(read)
        if rates is not None and stores and (rates.cache_write_per_token or 0.0) > rates.input_per_token:
            rates = replace(rates, input_per_token=rates.cache_write_per_token or 0.0)
        return cls(read, written, rates, call.id, call.is_repeat)

    @property
    def spend(self) -> Spend:
        """The amounts to book for the call."""
        return Spend(1, self.tokens, self.cost_usd)

    @property
    def tokens(self) -> int:
        return self.input_tokens + self.output_tokens

    @property
    def cost_usd(self) -> float:
        return self.price_of(self.input_tokens, self.output_tokens) or 0.0

    def price_of(self, input_tokens: int, output_tokens: int) -> float | None:
        """The price in US dollars of these tokens at the rates of this call; None if it is unknown."""
        return None if self.rates is None else self.rates.cost_uncached(input_tokens, output_tokens)


class Outlay:
    """What a run takes of its owner's day: the amount to book as sent, and the amount to set aside.

    `planned_calls` must find room, however many calls are repeated. `used` is the usage of ended calls, `held` are
    the reservations of running calls, `reserved` is their sum. `asking` are the calls that wait for the day to give
    more.
    """

    def __init__(self, planned_calls: int) -> None:
        self.used = self.reserved = self._announced_spend = Spend()
        self.held: list[Reservation] = []
        self.asking: list[Reservation] = []
        self._planned = planned_calls
        self._repeats = 0
        self._sent_ids: set[str] = set()
        self._announced: dict[str, Reservation] = {}

    @property
    def sent(self) -> Spend:
        """The usage of ended calls, plus the reservations of running and announced calls."""
        return self.used + self.reserved + self._announced_spend

    def wanted(self) -> Spend:
        """What to set aside now: `sent`, one extension step for each answer, and the rest of the plan."""
        sent = self.sent
        calls, tokens, usd = sent.calls, sent.tokens, sent.usd
        for waiting in self.asking:
            calls, tokens, usd = calls + 1, tokens + waiting.tokens, usd + waiting.cost_usd
        for reservation in (*self._announced.values(), *self.held, *self.asking):
            if reservation.output_tokens:
                tokens, usd = tokens + EXTENSION_TOKENS, usd + (reservation.price_of(0, EXTENSION_TOKENS) or 0.0)
        repeats = self._repeats + sum(map(self._is_repeat, self.asking))
        return Spend(max(calls, self._planned + repeats), tokens, usd)

    def has_call(self, amount: Spend, wanted: Reservation) -> bool:
        """Whether one more call fits into `amount`; a repeated call must leave room for all planned calls."""
        made = self.used.calls + len(self.held)
        return amount.calls > (max(made, self._planned + self._repeats) if self._is_repeat(wanted) else made)

    def announce(self, calls: Iterable[Reservation]) -> None:
        """Add the calls that come next."""
        for reservation in calls:
            self._announced[reservation.call] = reservation
            self._announced_spend += reservation.spend

    def forget(self, wanted: Reservation) -> None:
        """Remove an announced call: it begins now, or will not be made."""
        if announced := self._announced.pop(wanted.call, None):
            self._announced_spend = self._announced_spend.beyond(announced.spend)

    def begin(self, held: Reservation) -> None:
        """Record a call that is about to be sent."""
        self._repeats += self._is_repeat(held)
        self._sent_ids.add(held.call)
        self.held.append(held)
        self.reserved += held.spend

    def grow(self, held: Reservation) -> None:
        """Extend the reservation of a running call by one step."""
        held.output_tokens += EXTENSION_TOKENS
        self.reserved += Spend(0, EXTENSION_TOKENS, held.price_of(0, EXTENSION_TOKENS) or 0.0)

    def end(self, held: Reservation, used: Usage) -> None:
        """Replace the reservation of an ended call by its usage."""
        self.held.remove(held)
        self.reserved = self.reserved.beyond(held.spend) if self.held else Spend()
        self.used += Spend(used.attempts, used.tokens, used.cost_usd or 0.0)

    def _is_repeat(self, wanted: Reservation) -> bool:
        return wanted.again or wanted.call in self._sent_ids


class Budget:
    """The ceilings of a run on calls, tokens and US dollars, and what is spent and reserved of them.

    If the run draws on its owner's day, the amount that the day gave is a ceiling, too. The budget asks the day for
    more when this amount is too small. A reservation is valid only once it is booked in the day.
    """

    def __init__(self, limits: Limits, outlay: Outlay | None = None) -> None:
        self._calls = inf if limits.max_calls is None else limits.max_calls
        self._tokens = inf if limits.max_tokens is None else limits.max_tokens
        self._dollars = inf if limits.max_cost_usd is None else limits.max_cost_usd
        self._refuses_unknown_price = limits.on_unknown_price == "refuse"
        self._settled: anyio.Event | None = None  # made only when a call waits, which is rare
        self._outlay = outlay or Outlay(0)
        self._day: Day | None = None

    def count_resumed(self, record: CallRecord) -> None:
        """Count a call made before the run was resumed. Panels are not counted, only the calls inside them."""
        self._calls -= record.attempts
        self._deduct(record.outcome.usage)

    def draw_on(self, day: Day) -> None:
        """From now on, use no more than the owner's day gives."""
        self._day = day

    async def reserve(self, wanted: Reservation) -> None:
        """Reserve `wanted`, or with less output if there is too little room and no running call can give some back.

        Raises:
            ProviderError: BUDGET, if a ceiling leaves no room for the call.
        """
        try:
            await self._wait_for_room(wanted)
        finally:
            self._outlay.forget(wanted)
        self._calls -= 1
        self._outlay.begin(wanted)
        try:
            if self._day is not None and not self._day.sent.covers(self._outlay.sent):
                await self._day.book()
        except BaseException:
            # The caller settles only a reservation that it got: on a failure or a cancel here, this gives it back.
            self.settle(wanted, NOT_SENT)
            raise

    async def _wait_for_room(self, wanted: Reservation) -> None:
        """Wait until there is room, and reduce the output of `wanted` to it. Raises ProviderError if there is none."""
        while True:
            if wanted.rates is None and self._refuses_unknown_price:
                raise ProviderError(Reason.BUDGET, "no price is known for the model, and on_unknown_price is refuse")
            if self._calls < 1:
                raise ProviderError(Reason.BUDGET, "no calls are left")
            room = self._room(wanted)
            if room >= wanted.output_tokens and self._day_has_call(wanted):
                return
            if await self._ask_day_for_more(wanted):
                continue
            if not self._day_has_call(wanted):
                raise ProviderError(Reason.BUDGET, "its owner's day has no calls left")
            if not self._outlay.held:
                break
            self._settled = self._settled or anyio.Event()
            await self._settled.wait()
        if room < min(wanted.output_tokens, MIN_OUTPUT_TOKENS):
            raise ProviderError(Reason.BUDGET, self._describe_rest())
        wanted.output_tokens = room

    def extend(self, held: Reservation) -> bool:
        """Extend the reservation of an answer that is longer than it; False if there is no room."""
        step, day = Reservation(0, EXTENSION_TOKENS, held.rates), self._day
        if self._room_in_run(step) < EXTENSION_TOKENS:
            return False
        # An answer may grow faster than the day can give more. So it is cut only once the day has no more.
        if day is not None and day.exhausted and self._room_in_day(day, step) < EXTENSION_TOKENS:
            return False
        self._outlay.grow(held)
        if day is not None and not day.amount.covers(self._outlay.wanted()):
            day.book_soon()
        return True

    def settle(self, held: Reservation, used: Usage) -> None:
        """Give a reservation back and count the usage; a call that was not sent does not count as a call."""
        self._outlay.end(held, used)
        self._calls += used.attempts == 0
        self._deduct(used)
        if self._settled is not None:
            self._settled.set()
            self._settled = None

    def _deduct(self, used: Usage) -> None:
        self._tokens -= used.tokens
        self._dollars -= used.cost_usd or 0.0

    def _day_has_call(self, wanted: Reservation) -> bool:
        return self._day is None or self._outlay.has_call(self._day.amount, wanted)

    async def _ask_day_for_more(self, wanted: Reservation) -> bool:
        """If the day has too little room for `wanted`, ask it for more. Returns whether it gave more."""
        day = self._day
        if day is None or (self._day_has_call(wanted) and self._room_in_run(wanted) <= self._room_in_day(day, wanted)):
            return False
        before = day.amount
        self._outlay.asking.append(wanted)
        try:
            await day.book()
        finally:
            self._outlay.asking.remove(wanted)
        return day.amount != before

    def _room(self, wanted: Reservation) -> int:
        """How many output tokens fit beside `wanted.input_tokens` and all reservations; below 0: no room."""
        room = self._room_in_run(wanted)
        return room if self._day is None or room < 0 else min(room, self._room_in_day(self._day, wanted))

    def _room_in_run(self, wanted: Reservation) -> int:
        return self._room_in(wanted, self._tokens, self._dollars)

    def _room_in_day(self, day: Day, wanted: Reservation) -> int:
        amount, used = day.amount, self._outlay.used
        return self._room_in(wanted, amount.tokens - used.tokens, amount.usd - used.usd)

    def _room_in(self, wanted: Reservation, tokens: float, dollars: float) -> int:
        tokens -= self._outlay.reserved.tokens + wanted.input_tokens
        room = min(tokens, wanted.output_tokens)
        dollars -= self._outlay.reserved.usd + (wanted.price_of(wanted.input_tokens, 0) or 0.0)
        per_token = wanted.rates.output_per_token if wanted.rates is not None else 0.0
        room = min(room, dollars / per_token if per_token else (room if dollars >= -DUST else -1))
        return int(room) if room >= 0 else -1

    def _describe_rest(self) -> str:
        left = (self._tokens, self._dollars)
        if self._day is not None:
            amount, used = self._day.amount, self._outlay.used
            left = (min(left[0], amount.tokens - used.tokens), min(left[1], amount.usd - used.usd))
        tokens = "" if left[0] == inf else f"{max(0, int(left[0])):,} tokens"
        dollars = "" if left[1] == inf else f"${max(0.0, left[1]):.4f}"
        return f"{' and '.join(part for part in (tokens, dollars) if part)} left, which is too little for the call"
