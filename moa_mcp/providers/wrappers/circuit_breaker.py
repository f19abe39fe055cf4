"""A wrapper that pauses a model that keeps failing, and tries it again after a while.

Failures are remembered across runs: a model without credit costs one failed call, not one per draft. No model is
disabled permanently, because services have answered 401 during their own outages. A failure of one model does not
pause another, because keys have rights and limits per model.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import anyio

from moa_mcp.domain.errors import ProviderError, Reason, describe_reason
from moa_mcp.domain.model import Call, Result
from moa_mcp.providers.base import OnText, Provider
from moa_mcp.providers.notices import Cooled, report
from moa_mcp.providers.wrappers.backoff import MAX_RETRY_AFTER_SECONDS

_OPEN_SECONDS = {
    Reason.AUTH: 60.0,
    Reason.BILLING: 300.0,
    Reason.UNKNOWN_MODEL: 60.0,
    Reason.WRONG_URL: 30.0,
    Reason.OVERLOADED: 30.0,
    Reason.UNAVAILABLE: 30.0,
    Reason.CONNECTION: 30.0,
}
"""How long a model is paused."""

_LASTING = {Reason.AUTH, Reason.BILLING, Reason.UNKNOWN_MODEL}
"""Failures that do not pass by themselves: the first one pauses the model."""

MAX_OPEN_SECONDS = 3600.0
"""The longest pause of a model, even if its provider asks for more."""

FAILURES_IN_A_ROW = 3
"""The number of temporary failures in a row that pauses a model; failed retries count too."""


@dataclass(frozen=True, slots=True)
class OpenCircuit:
    """The end of a model's pause, in the clock's seconds, its reason, and what to change about it."""

    until: float
    reason: Reason
    advice: str


@dataclass(frozen=True, slots=True)
class Failures:
    """The number of failures of a model in a row, and the time of the last one, in the clock's seconds."""

    count: int
    last: float


class CircuitBreaker:
    """Refuses calls to paused models, and pauses models that fail."""

    def __init__(self, inner: Provider, clock: Callable[[], float] = anyio.current_time) -> None:
        self._inner = inner
        self._clock = clock
        self._open: dict[str, OpenCircuit] = {}
        self._failures: dict[str, Failures] = {}

    async def complete(self, call: Call, on_text: OnText) -> Result:
        """Ask, unless the model is paused.

        Raises:
            ProviderError: COOLING, without a call, while the model is paused; else the call's own error.
        """
        self._check(call)
        on_text("")  # from here on, the call counts as sent
        asked_at = self._clock()
        try:
            result = await self._inner.complete(call, on_text)
        except ProviderError as error:
            self._record_failure(call, error, asked_at)
            raise
        self._failures.pop(call.model, None)
        return result

    def _check(self, call: Call) -> None:
        circuit = self._open.get(call.model)
        if circuit is None:
            return
        if (left := circuit.until - self._clock()) > 0:
            why = f"for {left:.0f} s more, because {describe_reason(circuit.reason)}"
            raise ProviderError(Reason.COOLING, why, advice=circuit.advice)
        del self._open[call.model]

    def _record_failure(self, call: Call, error: ProviderError, asked_at: float) -> None:
        if error.reason is Reason.LOADING or error.parameter is not None:
            return  # it passes by itself, or with another value of a setting, and is asked again
        seconds = _OPEN_SECONDS.get(error.reason)
        if error.retry_after is not None and error.retry_after > MAX_RETRY_AFTER_SECONDS:
            self._open_circuit(call.model, error.retry_after, error)
        elif seconds and (error.reason in _LASTING or self._count_failures(call.model, asked_at) >= FAILURES_IN_A_ROW):
            self._open_circuit(call.model, seconds, error)

    def _count_failures(self, model: str, asked_at: float) -> int:
        """Failures in a row, with this one; those of concurrent calls count once, because one outage caused them."""
        before = self._failures.get(model, Failures(0, asked_at))
        if asked_at >= before.last:
            self._failures[model] = Failures(before.count + 1, self._clock())
        return self._failures[model].count

    def _open_circuit(self, model: str, seconds: float, error: ProviderError) -> None:
        seconds = min(seconds, MAX_OPEN_SECONDS)
        self._open[model] = OpenCircuit(self._clock() + seconds, error.reason, error.advice)
        report(Cooled(seconds, error.reason))
        # The first call after the pause is a probe: if it fails too, the model is paused again.
        self._failures[model] = Failures(FAILURES_IN_A_ROW - 1, self._clock())
