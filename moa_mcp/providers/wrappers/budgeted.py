"""A wrapper that sends a request only if the run's budget has room for it.

It lives for one run. It is inside the retry loop, because each request is paid for separately. The usage in a result or
an error is the total of all requests that were made for the call.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import ceil

from moa_mcp.domain.errors import ProviderError, Reason
from moa_mcp.domain.model import Call, ChatCall, CodeCall, Draft, Result
from moa_mcp.domain.usage import NOT_SENT, Usage
from moa_mcp.providers.base import OnText, Provider
from moa_mcp.providers.budget import Budget, Reservation, estimate_tokens
from moa_mcp.providers.prices import FREE, Rates
from moa_mcp.providers.request_form import form_of
from moa_mcp.providers.usage import UsageTracker, is_counted


class BudgetLimit:
    """Reserves before each request and settles after it. `rates` returns the rates of a model.

    If a call gets fewer output tokens than it wanted, it is sent with `max_tokens`, unless its model refuses that.
    """

    def __init__(
        self, inner: Provider, budget: Budget, account: UsageTracker, rates: Callable[[str], Rates | None]
    ) -> None:
        self._inner = inner
        self._budget = budget
        self._account = account
        self._rates = rates

    async def complete(self, call: Call, on_text: OnText) -> Result:
        """Ask if there is room; usage that the provider does not report is estimated, and marked so.

        Raises:
            ProviderError: BUDGET, before the call or when its answer needs more than is left; or any error of the call.
        """
        if isinstance(call, CodeCall):
            return await self._inner.complete(call, on_text)
        try:
            return await self._ask_within_budget(call, on_text)
        except ProviderError as error:
            error.usage = self._account.usage_of(call)
            raise

    def wanted(self, call: Call) -> Reservation:
        """The reservation that a call needs."""
        return Reservation.for_call(call, self._rates(call.model))

    async def _ask_within_budget(self, call: Call, on_text: OnText) -> Result:
        held = self.wanted(call)
        wanted = held.output_tokens
        await self._budget.reserve(held)
        meter = _OutputMeter(held, self._budget, on_text)
        used = NOT_SENT
        try:
            if isinstance(call, ChatCall) and held.output_tokens < wanted and form_of(call).sends("max_tokens"):
                call = replace(call, max_tokens=held.output_tokens)  # nothing else limits hidden thoughts
            result = await self._inner.complete(call, meter.on_text)
            used = meter.usage(result)
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
        return result if total is result.usage else replace(result, usage=total)


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

    def usage(self, result: Result) -> Usage:
        """The usage that the provider reported, if it is complete and plausible; else an estimate."""
        reported = result.usage
        if is_counted(result) or (
            self._held.rates == FREE and None not in (reported.input_tokens, reported.output_tokens)
        ):
            return reported
        if isinstance(result, Draft):
            self._written = max(self._written, estimate_tokens(result.text) + estimate_tokens(result.thinking))
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
        if usage.cost_usd is not None or self._held.rates is None:
            return usage
        return replace(usage, cost_usd=self._held.rates.cost(usage))
