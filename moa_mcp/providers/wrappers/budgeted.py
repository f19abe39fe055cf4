"""A wrapper that sends a request only if the run's budget has room for it.

It lives for one run. It is inside the retry loop, because each request is paid for separately. The usage in a draft or
an error is the total of all requests that were made for the call.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import ceil

from moa_mcp.domain.errors import ProviderError, Reason
from moa_mcp.domain.model import Call, CodeCall, Draft
from moa_mcp.domain.usage import NOT_SENT, Usage
from moa_mcp.providers.base import OnText, Provider
from moa_mcp.providers.budget import Budget, Reservation, estimate_tokens
from moa_mcp.providers.prices import FREE, Rates
from moa_mcp.providers.usage import UsageTracker, is_counted
from moa_mcp.providers.wrappers.unsupported_settings import refused_field


class BudgetLimit:
    """Reserves before each request and settles after it. `rates` returns the rates of a model.

    If a call gets fewer output tokens than it wanted, it is sent with `max_tokens`. A model that refuses `max_tokens`
    is asked without it for the rest of the run.
    """

    def __init__(
        self, inner: Provider, budget: Budget, account: UsageTracker, rates: Callable[[str], Rates | None]
    ) -> None:
        self._inner = inner
        self._budget = budget
        self._account = account
        self._rates = rates
        self._uncapped: set[str] = set()

    async def complete(self, call: Call, on_text: OnText) -> Draft:
        """Ask if there is room; usage that the provider does not report is estimated, and marked so.

        Raises:
            ProviderError: BUDGET, before the call or when its answer needs more than is left; or any error of the call.
        """
        if isinstance(call, CodeCall):
            return await self._inner.complete(call, on_text)
        while True:
            may_cap = call.model not in self._uncapped
            try:
                return await self._ask_within_budget(call, on_text)
            except ProviderError as error:
                error.usage = self._account.usage_of(call)
                if not (may_cap and call.model in self._uncapped and _is_about_the_cap(error)):
                    raise

    def wanted(self, call: Call) -> Reservation:
        """The reservation that a call needs."""
        return Reservation.for_call(call, self._rates(call.model))

    async def _ask_within_budget(self, call: Call, on_text: OnText) -> Draft:
        held = self.wanted(call)
        wanted = held.output_tokens
        await self._budget.reserve(held)
        meter = _OutputMeter(held, self._budget, on_text)
        used = NOT_SENT
        try:
            if held.output_tokens < wanted and call.model not in self._uncapped:
                draft = await self._ask_capped(call, held.output_tokens, meter.on_text)
            else:
                draft = await self._inner.complete(call, meter.on_text)
            used = meter.usage(call, draft)
        except ProviderError as error:
            used = meter.used_by_failure(error)
            raise
        except BaseException:
            # A cancelled request may still be billed, so its estimated usage so far is settled.
            used = meter.used_so_far()
            raise
        finally:
            self._budget.settle(held, used)
            total = self._account.add(call, used)
        return draft if total is draft.usage else replace(draft, usage=total)

    async def _ask_capped(self, call: Call, output_tokens: int, on_text: OnText) -> Draft:
        """Send the reserved output as max_tokens: nothing else limits hidden thoughts."""
        try:
            return await self._inner.complete(replace(call, max_tokens=output_tokens), on_text)
        except ProviderError as error:
            if _is_about_the_cap(error):
                self._uncapped.add(call.model)
            raise


def _is_about_the_cap(error: ProviderError) -> bool:
    return refused_field(error) == "max_tokens"


class _OutputMeter:
    """Counts the answer as it arrives, and compares it with the reservation."""

    def __init__(self, held: Reservation, budget: Budget, on_text: OnText) -> None:
        self._held = held
        self._budget = budget
        self._on_text = on_text
        self._written = 0.0
        self._has_text = False
        self._is_sent = False

    def on_text(self, piece: str) -> None:
        """Pass a piece on and count it; a piece without text, such as a thought, counts as one token at least.

        The first piece only signals that the request is being sent: without text it is not counted.

        Raises:
            ProviderError: BUDGET, if there is no room for more; it passes through the provider that reads the answer.
        """
        self._on_text(piece)
        if not self._is_sent:
            self._is_sent = True
            if not piece:
                return
        self._written += max(1.0, estimate_tokens(piece))
        self._has_text = self._has_text or bool(piece)
        if self._written > self._held.output_tokens and not self._budget.extend(self._held):
            raise ProviderError(Reason.BUDGET, "the answer was cut there", sent_text=self._has_text, reached=True)

    def used_so_far(self) -> Usage:
        """The estimated usage of a cancelled request; NOT_SENT if it was still waiting for its turn."""
        return self._at_least(Usage()) if self._is_sent else NOT_SENT

    def usage(self, call: Call, draft: Draft) -> Usage:
        """The usage that the provider reported, if it is complete and plausible; else an estimate."""
        reported = draft.usage
        if is_counted(call, draft) or (
            self._held.rates == FREE and None not in (reported.input_tokens, reported.output_tokens)
        ):
            return reported
        self._written = max(self._written, estimate_tokens(draft.text) + estimate_tokens(draft.thinking))
        return self._at_least(reported)

    def used_by_failure(self, error: ProviderError) -> Usage:
        """The possible usage of a failed request; no numbers if no model was reached."""
        if error.reached:
            return self._at_least(error.usage)
        return Usage() if self._is_sent else NOT_SENT

    def _at_least(self, reported: Usage) -> Usage:
        """An estimate that is not lower than the received pieces and the reported counts.

        A price that the provider reported stays.
        """
        read = max(self._held.input_tokens, reported.input_tokens or 0)
        written = max(ceil(self._written), reported.output_tokens or 0)
        usage = replace(reported, input_tokens=read, output_tokens=written, estimated=True)
        return usage if usage.cost_usd is not None else replace(usage, cost_usd=self._held.price_of(usage))
