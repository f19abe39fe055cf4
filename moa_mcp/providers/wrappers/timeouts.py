"""A wrapper that ends a call that shows no sign of life for too long, or takes longer than its limit.

A sign of life is data of the answer; comments and single bytes do not count.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf

import anyio

from moa_mcp.domain.endpoints import Endpoint
from moa_mcp.domain.errors import ProviderError, Reason
from moa_mcp.domain.model import Call, ChatCall, Result
from moa_mcp.domain.sampling import setting_of
from moa_mcp.providers.base import OnText, Provider
from moa_mcp.providers.request_form import form_of


@dataclass(frozen=True, slots=True)
class TimeoutSettings:
    """The time limits of a call, in seconds.

    `first` is the longest silence until text arrives; for a call that asks for thinking it is `first_thinking`. `idle`
    is the longest silence after that. `total` is the limit of a whole call without its own limit.
    """

    first: float = 60.0
    first_thinking: float = 120.0
    idle: float = 30.0
    total: float = 180.0

    def for_endpoint(self, endpoint: Endpoint) -> TimeoutSettings:
        """The limits for calls to an endpoint: a later first token makes the whole call longer by as much.

        A reply that does not stream comes all at once, so only the limit of the whole call is left.
        """
        first = endpoint.first_token_seconds
        if not endpoint.stream:
            return replace(self, first=inf, first_thinking=inf, total=max(self.total, first or 0.0))
        if first is None:
            return self
        return replace(self, first=first, first_thinking=first, total=self.total + max(0.0, first - self.first))


MARGIN = 0.25
"""Seconds by which a call ends before its layer does, so that its partial answer can be kept."""


class Timeouts:
    """Ends a call that is silent for too long or takes too long; time runs from when the call is sent."""

    def __init__(self, inner: Provider, settings: TimeoutSettings | None = None) -> None:
        self._inner = inner
        self._settings = settings or TimeoutSettings()

    async def complete(self, call: Call, on_text: OnText) -> Result:
        """Ask within the limits.

        Raises:
            ProviderError: TIMEOUT if the call's time is up or nothing came, DEADLINE if the layer's time is up,
                STALLED if the answer stopped coming; else the call's own error.
        """
        watch = _Watchdog(call, self._settings, on_text)
        with watch.start():
            return await self._inner.complete(call, watch.on_text)
        raise watch.verdict()


class _Watchdog:
    """The limits of one call: a cancel scope whose deadline moves with each sign of life, up to the final end."""

    def __init__(self, call: Call, settings: TimeoutSettings, on_text: OnText) -> None:
        self._on_text = on_text
        self._idle = settings.idle
        self._total = settings.total if call.timeout_seconds is None else call.timeout_seconds
        if not form_of(call).sends("stream"):
            self._first = self._total  # the whole answer comes at once
        else:
            thinks = isinstance(call, ChatCall) and (call.effort is not None or setting_of(call, "thinking"))
            self._first = settings.first_thinking if thinks else settings.first
        self._scope = anyio.CancelScope()
        self._end = 0.0
        self._alive = self._has_text = self._ends_with_layer = False

    def start(self) -> anyio.CancelScope:
        """Start the time, and return the cancel scope that ends the call when the time is up."""
        started = anyio.current_time()
        own_end, layer_end = started + self._total, anyio.current_effective_deadline() - MARGIN
        self._ends_with_layer = started < layer_end < own_end
        self._end = layer_end if self._ends_with_layer else own_end
        self._scope.deadline = min(self._end, started + self._first)
        return self._scope

    def on_text(self, piece: str) -> None:
        """Record a sign of life. Before the first text the model may be thinking, so silence may last longer."""
        self._alive = True
        self._has_text = self._has_text or bool(piece)
        limit = self._idle if self._has_text else self._first
        self._scope.deadline = min(self._end, anyio.current_time() + limit)
        self._on_text(piece)

    def verdict(self) -> ProviderError:
        """The error for the limit that was reached."""
        if self._scope.deadline >= self._end and self._ends_with_layer:
            reason, detail = Reason.DEADLINE, ""
        elif self._scope.deadline >= self._end:
            reason, detail = Reason.TIMEOUT, f"after {self._total:g} s"
        elif self._has_text:
            reason, detail = Reason.STALLED, f"nothing for {self._idle:g} s"
        elif self._alive:
            reason, detail = Reason.STALLED, f"no word for {self._first:g} s"
        else:
            reason, detail = Reason.TIMEOUT, f"nothing came for {self._first:g} s"
        return ProviderError(reason, detail, sent_text=self._has_text, reached=True)
