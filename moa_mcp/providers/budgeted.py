"""A provider around a provider: nothing is sent that the run's budget has no room for.

It lives for one run. Each request is paid for by itself, so it stands within the retry loop.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import anyio

from moa_mcp.errors import ProviderError, Reason
from moa_mcp.model import Call, Draft, Usage
from moa_mcp.prices import FREE, Rates
from moa_mcp.providers.base import OnText, Provider
from moa_mcp.providers.budget import LETTERS_PER_TOKEN, Budget, Reservation, tokens_in


class Budgeted:
    """Reserves before it asks and settles after. `rates` knows what a model costs per token."""

    def __init__(self, inner: Provider, budget: Budget, rates: Callable[[str], Rates | None]) -> None:
        self._inner = inner
        self._budget = budget
        self._rates = rates

    async def complete(self, call: Call, on_text: OnText) -> Draft:
        """Ask if there is room for it; what the provider does not count is estimated, and marked so.

        Raises:
            ProviderError: BUDGET, before the call or when its answer outgrows what is left; else as raised.
        """
        if call.kind == "code":
            return await self._inner.complete(call, on_text)
        held = Reservation.wanted_by(call, self._rates(call.model))
        await self._budget.reserve(held)
        meter = _Meter(held, self._budget, on_text)
        used = Usage()
        try:
            draft = await meter.read(self._inner, call)
            used = meter.usage(draft)
            return draft if used is draft.usage else replace(draft, usage=used)
        except ProviderError as error:
            used = meter.book(error)
            raise
        except BaseException:
            # Whoever leaves a call that is under way may have to pay for it.
            used = meter.so_far()
            raise
        finally:
            self._budget.settle(held, used)


class _Meter:
    """How much of an answer has come, held against what is reserved for it."""

    def __init__(self, held: Reservation, budget: Budget, on_text: OnText) -> None:
        self._held = held
        self._budget = budget
        self._on_text = on_text
        self._scope = anyio.CancelScope()
        self._written = 0.0
        self._heard = False

    async def read(self, inner: Provider, call: Call) -> Draft:
        with self._scope:
            return await inner.complete(call, self.hear)
        raise ProviderError(Reason.BUDGET, "the answer was cut there", sent_text=self._heard, reached=True)

    def hear(self, piece: str) -> None:
        """Count a piece; one without text, such as a thought, is a token at least."""
        self._written += max(1.0, len(piece) / LETTERS_PER_TOKEN)
        self._heard = self._heard or bool(piece)
        if self._written > self._held.output_tokens and not self._budget.extend(self._held):
            self._scope.cancel()
        self._on_text(piece)

    def so_far(self) -> Usage:
        """What the call is booked at when nobody tells."""
        return self._estimate(int(self._written))

    def usage(self, draft: Draft) -> Usage:
        """What the provider counted, as long as that can be; else an estimate."""
        told = draft.usage
        free = self._held.rates == FREE
        if told.input_tokens is not None and told.output_tokens is not None and (free or told.output_tokens):
            return told
        letters = len(draft.text) + len(draft.thinking)
        estimate = self._estimate(max(int(self._written), tokens_in(letters), told.output_tokens or 0))
        known_input = max(told.input_tokens or 0, estimate.input_tokens or 0)
        return replace(estimate, input_tokens=known_input)

    def book(self, error: ProviderError) -> Usage:
        """What a failed call may have cost, written into its error; nothing where no model was reached."""
        if not error.reached:
            return Usage()
        used = self.so_far()
        error.input_tokens = max(used.input_tokens or 0, error.input_tokens or 0)
        error.output_tokens = max(used.output_tokens or 0, error.output_tokens or 0)
        error.cost_usd = self._held.cost_of(error.output_tokens)
        return Usage(error.input_tokens, error.output_tokens, error.cost_usd, estimated=True)

    def _estimate(self, output_tokens: int) -> Usage:
        held = self._held
        return Usage(held.input_tokens, output_tokens, held.cost_of(output_tokens), estimated=True)
