"""What a run may still use: reserved before a call is sent, settled by what it came to. No call is made here.

Calls that run side by side cannot together pass a ceiling as long as each keeps to its reservation. Input is
reserved by an estimate that is rather too high. Output that streams is held to what is reserved, and a call that
gets less than it wanted is sent with that limit. What can still pass a ceiling are the thoughts of models that
neither stream them nor were given a limit, by as much as each call under way thinks: they are known when they are
billed, and then nothing more is sent. Where the price of a model is unknown, only calls and tokens are counted.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, inf

import anyio

from moa_mcp.errors import ProviderError, Reason
from moa_mcp.model import Call, CallRecord, Failure, Usage
from moa_mcp.preset import Limits
from moa_mcp.prices import Rates

LETTERS_PER_TOKEN = 3
"""Fewer than there are in any usual text of ASCII, so that an estimate is rather too high."""

MOST_OUTPUT = 8192
"""Tokens that are reserved for an answer without a max_tokens of its own."""

LEAST_OUTPUT = 1024
"""An answer gets at least this many tokens (or its max_tokens), or its call is not made."""

STEP = 2048
"""Tokens by which a reservation grows that an answer has outgrown."""


def tokens_in(text: str) -> float:
    """About how many tokens a text has, rather too many than too few: beyond ASCII, one for each character."""
    if text.isascii():
        return len(text) / LETTERS_PER_TOKEN
    plain = len(text.encode("ascii", "ignore"))
    return len(text) - plain + plain / LETTERS_PER_TOKEN


@dataclass(slots=True)
class Reservation:
    """What a call holds of a budget: its input, and as many tokens of output as it may write by now.

    `rates` is None where the price is unknown.
    """

    input_tokens: int
    output_tokens: int
    rates: Rates | None

    @classmethod
    def wanted_by(cls, call: Call, rates: Rates | None) -> Reservation:
        """What a call may come to, at the rates of requests as long as it is."""
        read = ceil(sum(tokens_in(message.text) for message in call.messages))
        written = 0 if call.kind == "embedding" else call.max_tokens or MOST_OUTPUT
        return cls(read, written, rates and rates.at(read))

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


class Budget:
    """Ceilings of a run on calls, tokens and US dollars, and what is spent and reserved of them."""

    def __init__(self, limits: Limits) -> None:
        self._calls = inf if limits.max_calls is None else limits.max_calls
        self._tokens = inf if limits.max_tokens is None else limits.max_tokens
        self._dollars = inf if limits.max_cost_usd is None else limits.max_cost_usd
        self._held: list[Reservation] = []
        self._changed: anyio.Event | None = None  # made for whoever waits: hardly ever does anybody

    def book(self, record: CallRecord) -> None:
        """Count a call that was made before: the run was resumed. Code and panels are no calls to models."""
        if record.call.kind in ("code", "panel"):
            return
        self._calls -= record.outcome.retries + (not _was_refused_here(record))
        self._spend(record.outcome.usage)

    async def reserve(self, wanted: Reservation) -> None:
        """Hold `wanted`; where that is too much and nobody gives back any, as much of its output as there is.

        Raises:
            ProviderError: BUDGET, if a ceiling leaves no room for the call.
        """
        if self._calls < 1:
            raise ProviderError(Reason.BUDGET, "no calls are left")
        self._calls -= 1
        try:
            while (room := self._room(wanted)) < wanted.output_tokens and self._held:
                self._changed = self._changed or anyio.Event()
                await self._changed.wait()
        except BaseException:
            self._calls += 1
            raise
        if room < min(wanted.output_tokens, LEAST_OUTPUT):
            self._calls += 1
            raise ProviderError(Reason.BUDGET, self._what_is_left())
        wanted.output_tokens = min(wanted.output_tokens, room)
        self._held.append(wanted)

    def extend(self, held: Reservation) -> bool:
        """Let an answer that has outgrown its reservation go on; False if there is no room for that."""
        if self._room(Reservation(0, STEP, held.rates)) < STEP:
            return False
        held.output_tokens += STEP
        return True

    def settle(self, held: Reservation, used: Usage) -> None:
        """Give a reservation back, and count what the call came to."""
        self._held.remove(held)
        self._spend(used)
        if self._changed is not None:
            self._changed.set()
            self._changed = None

    def _spend(self, used: Usage) -> None:
        self._tokens -= (used.input_tokens or 0) + (used.output_tokens or 0)
        self._dollars -= used.cost_usd or 0.0

    def _room(self, wanted: Reservation) -> int:
        """How many tokens of output fit beside `wanted.input_tokens` and all that is held; below 0: none."""
        tokens = self._tokens - sum(held.tokens for held in self._held) - wanted.input_tokens
        room = min(tokens, wanted.output_tokens)
        if wanted.rates is not None:
            dollars = self._dollars - sum(held.cost_usd for held in self._held) - (wanted.cost_of(0) or 0.0)
            per_token = wanted.rates.output_per_token
            room = min(room, dollars / per_token if per_token else (room if dollars >= 0 else -1))
        return int(room) if room >= 0 else -1

    def _what_is_left(self) -> str:
        tokens = "" if self._tokens == inf else f"{max(0, int(self._tokens)):,} tokens"
        dollars = "" if self._dollars == inf else f"${max(0.0, self._dollars):.4f}"
        return f"{' and '.join(part for part in (tokens, dollars) if part)} left, which is too little for the call"


def _was_refused_here(record: CallRecord) -> bool:
    """Whether a call was not sent, for want of room, and gave back what it would have used up."""
    outcome = record.outcome
    return isinstance(outcome, Failure) and outcome.reason is Reason.BUDGET and outcome.usage.input_tokens is None
