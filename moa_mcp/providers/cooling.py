"""A provider around a provider: a route that keeps failing is left alone for a while, and then tried again.

What failed is remembered over runs: a key without credit costs one call, not one call per draft. Nothing is
disabled for good, for services have answered 401 in the midst of their own outages.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import anyio

from moa_mcp.endpoints import split_model
from moa_mcp.errors import ProviderError, Reason, in_plain_words
from moa_mcp.model import Call, Draft
from moa_mcp.providers.backoff import LONGEST_ASKED_SECONDS
from moa_mcp.providers.base import OnText, Provider

_KEY_SECONDS = {Reason.AUTH: 60.0, Reason.BILLING: 300.0}
"""How long all models behind a key rest."""

_MODEL_SECONDS = {
    Reason.UNKNOWN_MODEL: 300.0,
    Reason.FORBIDDEN: 60.0,
    Reason.OVERLOADED: 30.0,
    Reason.UNAVAILABLE: 30.0,
    Reason.CONNECTION: 30.0,
}
"""How long one model rests."""

FAILURES_IN_A_ROW = 3
"""How often a model fails before a fault that may pass makes it rest; a retry is such a failure too."""

_LASTING = {Reason.UNKNOWN_MODEL, Reason.FORBIDDEN}


@dataclass(frozen=True, slots=True)
class Rest:
    """Until when a route is left alone, in the clock's seconds, and for what."""

    until: float
    reason: Reason


class Cooling:
    """Refuses calls to routes that rest, and learns from failures which ones should."""

    def __init__(self, inner: Provider, clock: Callable[[], float] = anyio.current_time) -> None:
        self._inner = inner
        self._clock = clock
        self._rests: dict[str, Rest] = {}
        self._failures: dict[str, int] = {}

    async def complete(self, call: Call, on_text: OnText) -> Draft:
        """Ask, unless the route rests.

        Raises:
            ProviderError: COOLING, without a call, while it rests; else what the call raises.
        """
        self._check(call)
        try:
            draft = await self._inner.complete(call, on_text)
        except ProviderError as error:
            self._learn(call, error)
            raise
        self._failures.pop(call.model, None)
        return draft

    def _check(self, call: Call) -> None:
        for route in (split_model(call.model)[0], call.model):
            rest = self._rests.get(route)
            if rest is None:
                continue
            if (left := rest.until - self._clock()) > 0:
                raise ProviderError(Reason.COOLING, f"for {left:.0f} s more, because {in_plain_words(rest.reason)}")
            del self._rests[route]

    def _learn(self, call: Call, error: ProviderError) -> None:
        if seconds := _KEY_SECONDS.get(error.reason):
            self._rest(split_model(call.model)[0], seconds, error.reason)
        elif error.retry_after is not None and error.retry_after > LONGEST_ASKED_SECONDS:
            self._rest(call.model, error.retry_after, error.reason)
        elif seconds := _MODEL_SECONDS.get(error.reason):
            self._failures[call.model] = self._failures.get(call.model, 0) + 1
            if error.reason in _LASTING or self._failures[call.model] >= FAILURES_IN_A_ROW:
                self._rest(call.model, seconds, error.reason)

    def _rest(self, route: str, seconds: float, reason: Reason) -> None:
        self._rests[route] = Rest(self._clock() + min(seconds, 3600.0), reason)
        self._failures.pop(route, None)
