"""What a run may still use: reserved before a call is sent, settled by what it came to. No call is made here.

Calls that run side by side cannot together pass a ceiling as long as each keeps to its reservation. Input is
reserved by an estimate that is rather too high. Output that streams is held to what is reserved, and a call that
gets less than it wanted is sent with that limit. What can still pass a ceiling are the thoughts of models that
neither stream them nor were given a limit, by as much as each call under way thinks: they are known when they are
billed, and then nothing more is sent. Where the price of a model is unknown, only calls and tokens are counted.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil, inf

import anyio

from moa_mcp.domain.errors import ProviderError, Reason
from moa_mcp.domain.model import Call, CallRecord, EmbedCall, Usage
from moa_mcp.domain.preset import Limits
from moa_mcp.domain.spend import DUST, Spend
from moa_mcp.providers.base import Day
from moa_mcp.providers.prices import Rates

CHARS_PER_TOKEN = 3
"""Fewer than there are in any usual text of ASCII, so that an estimate is rather too high."""

MAX_OUTPUT_TOKENS = 8192
"""Tokens that are reserved for an answer without a max_tokens of its own."""

MIN_OUTPUT_TOKENS = 1024
"""An answer gets at least this many tokens (or its max_tokens), or its call is not made."""

EXTENSION_TOKENS = 2048
"""Tokens by which a reservation grows that an answer has outgrown."""


def estimate_tokens(text: str) -> float:
    """About how many tokens a text has, rather too many than too few: beyond ASCII, one for each character."""
    if text.isascii():
        return len(text) / CHARS_PER_TOKEN
    plain = len(text.encode("ascii", "ignore"))
    return len(text) - plain + plain / CHARS_PER_TOKEN


@dataclass(slots=True)
class Reservation:
    """What a call holds of a budget: its input, and as many tokens of output as it may write by now.

    `rates` is None where the price is unknown. `call` is the id of the call; `again` marks one that asks again for
    what came out of form, which is in no plan.
    """

    input_tokens: int
    output_tokens: int
    rates: Rates | None
    call: str = ""
    again: bool = False

    @classmethod
    def for_call(cls, call: Call, rates: Rates | None) -> Reservation:
        """What a call may come to, at the rates of requests as long as it is."""
        read = ceil(sum(estimate_tokens(message.text) for message in call.messages))
        written = 0 if isinstance(call, EmbedCall) else call.max_tokens or MAX_OUTPUT_TOKENS
        return cls(read, written, rates and rates.at(read), call.id, call.is_repeat)

    @property
    def spend(self) -> Spend:
        """What it is booked at."""
        return Spend(1, self.tokens, self.cost_usd)

    @property
    def tokens(self) -> int:
        return self.input_tokens + self.output_tokens

    @property
    def cost_usd(self) -> float:
        return self.cost_of(self.output_tokens) or 0.0

    def cost_of(self, output_tokens: int) -> float | None:
        """The price with that many tokens of output, None if it is not known."""
        return self.price_of(self.input_tokens, output_tokens)

    def price_of(self, input_tokens: int, output_tokens: int) -> float | None:
        """The price of so many tokens at the rates of this call, None if it is not known."""
        if self.rates is None:
            return None
        return input_tokens * self.rates.input_per_token + output_tokens * self.rates.output_per_token


class Drawn:
    """What a run draws on its owner's day: what is to be booked as sent, and what is to be set aside for it.

    `planned_calls` are those that must find room whatever is asked again. `used` is what calls have come to, `held`
    are those under way, `reserved` is what these reserve.
    """

    def __init__(self, planned_calls: int) -> None:
        self.used = self.reserved = self._to_come = Spend()
        self.held: list[Reservation] = []
        self.asking: list[Reservation] = []
        self._planned = planned_calls
        self._again = 0
        self._asked: set[str] = set()
        self._announced: dict[str, Reservation] = {}

    @property
    def sent(self) -> Spend:
        """What calls have come to, with those announced or under way at what they reserve."""
        return self.used + self.reserved + self._to_come

    def wanted(self) -> Spend:
        """What is to be set aside by now: what is sent, a step for each answer to grow by, and the rest of the plan."""
        sent = self.sent
        calls, tokens, usd = sent.calls, sent.tokens, sent.usd
        for one in self.asking:
            calls, tokens, usd = calls + 1, tokens + one.tokens, usd + one.cost_usd
        for one in (*self._announced.values(), *self.held, *self.asking):
            if one.output_tokens:
                tokens, usd = tokens + EXTENSION_TOKENS, usd + (one.price_of(0, EXTENSION_TOKENS) or 0.0)
        again = self._again + sum(map(self._is_again, self.asking))
        return Spend(max(calls, self._planned + again), tokens, usd)

    def has_call(self, amount: Spend, wanted: Reservation) -> bool:
        """Whether one more call fits into `amount`; one that no plan has, only beside all that were planned."""
        made = self.used.calls + len(self.held)
        return amount.calls > (max(made, self._planned + self._again) if self._is_again(wanted) else made)

    def announce(self, calls: Iterable[Reservation]) -> None:
        """Take in calls that come next."""
        for one in calls:
            self._announced[one.call] = one
            self._to_come += one.spend

    def forget(self, wanted: Reservation) -> None:
        """A call that was announced begins, or is not made."""
        if announced := self._announced.pop(wanted.call, None):
            self._to_come = self._to_come.beyond(announced.spend)

    def begin(self, held: Reservation) -> None:
        """A call is about to be sent."""
        self._again += self._is_again(held)
        self._asked.add(held.call)
        self.held.append(held)
        self.reserved += held.spend

    def grow(self, held: Reservation) -> None:
        """The answer of a call under way takes another step."""
        held.output_tokens += EXTENSION_TOKENS
        self.reserved += Spend(0, EXTENSION_TOKENS, held.price_of(0, EXTENSION_TOKENS) or 0.0)

    def end(self, held: Reservation, used: Usage) -> None:
        """A call has ended, and came to so much."""
        self.held.remove(held)
        self.reserved = self.reserved.beyond(held.spend) if self.held else Spend()
        self.used += Spend(used.attempts, (used.input_tokens or 0) + (used.output_tokens or 0), used.cost_usd or 0.0)

    def _is_again(self, wanted: Reservation) -> bool:
        return wanted.again or wanted.call in self._asked


class Budget:
    """Ceilings of a run on calls, tokens and US dollars, and what is spent and reserved of them.

    Where the run draws on its owner's day, what that has given is a ceiling, too: the day is asked for more when
    it is short, and a call has its reservation only once that is booked there.
    """

    def __init__(self, limits: Limits, drawn: Drawn | None = None) -> None:
        self._calls = inf if limits.max_calls is None else limits.max_calls
        self._tokens = inf if limits.max_tokens is None else limits.max_tokens
        self._dollars = inf if limits.max_cost_usd is None else limits.max_cost_usd
        self._changed: anyio.Event | None = None  # made for whoever waits: hardly ever does anybody
        self._drawn = drawn or Drawn(0)
        self._day: Day | None = None

    def count_resumed(self, record: CallRecord) -> None:
        """Count a call that was made before: the run was resumed. What panels came to their own calls tell."""
        self._calls -= record.attempts
        self._spend(record.outcome.usage)

    def draw_on(self, day: Day) -> None:
        """Use no more of the owner's day than it gives, from now on."""
        self._day = day

    async def reserve(self, wanted: Reservation) -> None:
        """Hold `wanted`; where that is too much and nobody gives back any, as much of its output as there is.

        Raises:
            ProviderError: BUDGET, if a ceiling leaves no room for the call.
        """
        try:
            await self._wait_for_room(wanted)
        finally:
            self._drawn.forget(wanted)
        self._calls -= 1
        self._drawn.begin(wanted)
        try:
            if self._day is not None and not self._day.sent.covers(self._drawn.sent):
                await self._day.book()
        except BaseException:
            self.settle(wanted, Usage(attempts=0))
            raise

    async def _wait_for_room(self, wanted: Reservation) -> None:
        """Wait until there is room, and take as much output as there is. Raises ProviderError if there is none."""
        while True:
            if self._calls < 1:
                raise ProviderError(Reason.BUDGET, "no calls are left")
            room = self._room(wanted)
            if room >= wanted.output_tokens and self._day_has_call(wanted):
                return
            if await self._day_gave_more(wanted):
                continue
            if not self._day_has_call(wanted):
                raise ProviderError(Reason.BUDGET, "its owner's day has no calls left")
            if not self._drawn.held:
                break
            self._changed = self._changed or anyio.Event()
            await self._changed.wait()
        if room < min(wanted.output_tokens, MIN_OUTPUT_TOKENS):
            raise ProviderError(Reason.BUDGET, self._what_is_left())
        wanted.output_tokens = room

    def extend(self, held: Reservation) -> bool:
        """Let an answer that has outgrown its reservation go on; False if there is no room for that."""
        step, day = Reservation(0, EXTENSION_TOKENS, held.rates), self._day
        if self._room_in_run(step) < EXTENSION_TOKENS:
            return False
        # An answer may come faster than the day can be asked for more: it is cut only once the day has no more.
        if day is not None and day.exhausted and self._room_in_day(day, step) < EXTENSION_TOKENS:
            return False
        self._drawn.grow(held)
        if day is not None and not day.amount.covers(self._drawn.wanted()):
            day.book_soon()
        return True

    def settle(self, held: Reservation, used: Usage) -> None:
        """Give a reservation back, and count what the call came to; one that was not sent is none."""
        self._drawn.end(held, used)
        self._calls += used.attempts == 0
        self._spend(used)
        if self._changed is not None:
            self._changed.set()
            self._changed = None

    def _spend(self, used: Usage) -> None:
        self._tokens -= (used.input_tokens or 0) + (used.output_tokens or 0)
        self._dollars -= used.cost_usd or 0.0

    def _day_has_call(self, wanted: Reservation) -> bool:
        return self._day is None or self._drawn.has_call(self._day.amount, wanted)

    async def _day_gave_more(self, wanted: Reservation) -> bool:
        """Ask the day for what `wanted` takes, if it is the day that is short; whether it gave any."""
        day = self._day
        if day is None or (self._day_has_call(wanted) and self._room_in_run(wanted) <= self._room_in_day(day, wanted)):
            return False
        before = day.amount
        self._drawn.asking.append(wanted)
        try:
            await day.book()
        finally:
            self._drawn.asking.remove(wanted)
        return day.amount != before

    def _room(self, wanted: Reservation) -> int:
        """How many tokens of output fit beside `wanted.input_tokens` and all that is held; below 0: none."""
        room = self._room_in_run(wanted)
        return room if self._day is None or room < 0 else min(room, self._room_in_day(self._day, wanted))

    def _room_in_run(self, wanted: Reservation) -> int:
        return self._room_in(wanted, self._tokens, self._dollars)

    def _room_in_day(self, day: Day, wanted: Reservation) -> int:
        amount, used = day.amount, self._drawn.used
        return self._room_in(wanted, amount.tokens - used.tokens, amount.usd - used.usd)

    def _room_in(self, wanted: Reservation, tokens: float, dollars: float) -> int:
        tokens -= self._drawn.reserved.tokens + wanted.input_tokens
        room = min(tokens, wanted.output_tokens)
        if wanted.rates is not None:
            dollars -= self._drawn.reserved.usd + (wanted.cost_of(0) or 0.0)
            per_token = wanted.rates.output_per_token
            room = min(room, dollars / per_token if per_token else (room if dollars >= -DUST else -1))
        return int(room) if room >= 0 else -1

    def _what_is_left(self) -> str:
        left = (self._tokens, self._dollars)
        if self._day is not None:
            amount, used = self._day.amount, self._drawn.used
            left = (min(left[0], amount.tokens - used.tokens), min(left[1], amount.usd - used.usd))
        tokens = "" if left[0] == inf else f"{max(0, int(left[0])):,} tokens"
        dollars = "" if left[1] == inf else f"${max(0.0, left[1]):.4f}"
        return f"{' and '.join(part for part in (tokens, dollars) if part)} left, which is too little for the call"
