"""What a run may still use: reserved before a call is sent, settled by what it came to. No call is made here.

A reservation is an upper bound, so calls that run side by side cannot together pass a ceiling. Where the price
of a model is unknown, only calls and tokens are counted.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, inf

import anyio

from moa_mcp.errors import ProviderError, Reason
from moa_mcp.model import Call, CallRecord, Usage
from moa_mcp.preset import Limits
from moa_mcp.prices import Rates

LETTERS_PER_TOKEN = 3
"""Fewer than there are in any usual text, so that an estimate is rather too high."""

MOST_OUTPUT = 8192
"""Tokens that are reserved for an answer without a max_tokens of its own."""

LEAST_OUTPUT = 1024
"""An answer gets at least this many tokens (or its max_tokens), or its call is not made."""

STEP = 2048
"""Tokens by which a reservation grows that an answer has outgrown."""


def tokens_in(text_length: int) -> int:
    """About how many tokens so many characters are, rather too many than too few."""
    return ceil(text_length / LETTERS_PER_TOKEN)


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
        """What a call may come to."""
        letters = sum(len(message.text) for message in call.messages)
        output = 0 if call.kind == "embedding" else call.max_tokens or MOST_OUTPUT
        return cls(tokens_in(letters), output, rates)

    @property
    def tokens(self) -> int:
        return self.input_tokens + self.output_tokens

    @property
    def cost_usd(self) -> float:
        return self.cost_of(self.output_tokens) or 0.0

    def cost_of(self, output_tokens: int) -> float | None:
        """The price with that many tokens of output, None if it is not known."""
        if self.rates is None:
            return None
        return self.input_tokens * self.rates.input_per_token + output_tokens * self.rates.output_per_token


class Budget:
    """Ceilings of a run on calls, tokens and US dollars, and what is spent and reserved of them."""

    def __init__(self, limits: Limits) -> None:
        self._calls = inf if limits.max_calls is None else limits.max_calls
        self._tokens = inf if limits.max_tokens is None else limits.max_tokens
        self._dollars = inf if limits.max_cost_usd is None else limits.max_cost_usd
        self._held: list[Reservation] = []
        self._changed = anyio.Event()

    def book(self, record: CallRecord) -> None:
        """Count a call that was made before: the run was resumed."""
        self._calls -= 1 + record.outcome.retries
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
        changed, self._changed = self._changed, anyio.Event()
        changed.set()

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
