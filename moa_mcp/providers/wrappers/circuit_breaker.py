"""A provider around a provider: a model that keeps failing is left alone for a while, and then tried again.

What failed is remembered over runs: a model that the account has no credit for costs one call, not one call
per draft. Nothing is disabled for good, for services have answered 401 in the midst of their own outages; and
no model for the failure of another, for keys have rights and limits per model.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import anyio

from moa_mcp.domain.errors import ProviderError, Reason, describe_reason
from moa_mcp.domain.model import Call, Draft
from moa_mcp.providers.base import OnText, Provider
from moa_mcp.providers.notices import Cooled, report
from moa_mcp.providers.wrappers.backoff import MAX_RETRY_AFTER_SECONDS

_OPEN_SECONDS = {
    Reason.AUTH: 60.0,
    Reason.BILLING: 300.0,
    Reason.UNKNOWN_MODEL: 300.0,
    Reason.OVERLOADED: 30.0,
    Reason.UNAVAILABLE: 30.0,
    Reason.CONNECTION: 30.0,
}
"""How long a model rests."""

_LASTING = {Reason.AUTH, Reason.BILLING, Reason.UNKNOWN_MODEL}
"""Faults that will not pass by themselves: the first one is enough."""

MAX_OPEN_SECONDS = 3600.0
"""No model rests longer, whatever its provider asks for."""

FAILURES_IN_A_ROW = 3
"""How often a model fails before a fault that may pass makes it rest; a retry is such a failure too."""


@dataclass(frozen=True, slots=True)
class OpenCircuit:
    """Until when a model is left alone, in the clock's seconds, and for what."""

    until: float
    reason: Reason


@dataclass(frozen=True, slots=True)
class Failures:
    """How often a model failed in a row, and when it did last, in the clock's seconds."""

    count: int
    last: float


class CircuitBreaker:
    """Refuses calls to models that rest, and learns from failures which ones should."""

    def __init__(self, inner: Provider, clock: Callable[[], float] = anyio.current_time) -> None:
        self._inner = inner
        self._clock = clock
        self._open: dict[str, OpenCircuit] = {}
        self._failures: dict[str, Failures] = {}

    async def complete(self, call: Call, on_text: OnText) -> Draft:
        """Ask, unless the model rests.

        Raises:
            ProviderError: COOLING, without a call, while it rests; else what the call raises.
        """
        self._check(call)
        on_text("")  # from here on it counts as sent
        asked_at = self._clock()
        try:
            draft = await self._inner.complete(call, on_text)
        except ProviderError as error:
            self._record_failure(call, error, asked_at)
            raise
        self._failures.pop(call.model, None)
        return draft

    def _check(self, call: Call) -> None:
        rest = self._open.get(call.model)
        if rest is None:
            return
        if (left := rest.until - self._clock()) > 0:
            raise ProviderError(Reason.COOLING, f"for {left:.0f} s more, because {describe_reason(rest.reason)}")
        del self._open[call.model]

    def _record_failure(self, call: Call, error: ProviderError, asked_at: float) -> None:
        seconds = _OPEN_SECONDS.get(error.reason)
        if error.retry_after is not None and error.retry_after > MAX_RETRY_AFTER_SECONDS:
            self._open_circuit(call.model, error.retry_after, error.reason)
        elif seconds and (error.reason in _LASTING or self._count_failures(call.model, asked_at) >= FAILURES_IN_A_ROW):
            self._open_circuit(call.model, seconds, error.reason)

    def _count_failures(self, model: str, asked_at: float) -> int:
        """Failures in a row with this one; those of calls side by side are one, for it was one moment."""
        before = self._failures.get(model, Failures(0, asked_at))
        if asked_at >= before.last:
            self._failures[model] = Failures(before.count + 1, self._clock())
        return self._failures[model].count

    def _open_circuit(self, model: str, seconds: float, reason: Reason) -> None:
        seconds = min(seconds, MAX_OPEN_SECONDS)
        self._open[model] = OpenCircuit(self._clock() + seconds, reason)
        report(Cooled(seconds, reason))
        # Its first call after the rest is a probe: if that fails as well, it rests again.
        self._failures[model] = Failures(FAILURES_IN_A_ROW - 1, self._clock())
