"""A provider around a provider: no call is waited for longer than it shows life, or longer than its limit.

A sign of life is data of the answer: comments and single bytes that trickle in are none.
"""

from __future__ import annotations

from dataclasses import dataclass

import anyio

from moa_mcp.domain.errors import ProviderError, Reason
from moa_mcp.domain.model import Call, Draft
from moa_mcp.providers.base import OnText, Provider


@dataclass(frozen=True, slots=True)
class TimeoutSettings:
    """How many seconds a call is waited for.

    `first` is until the answer begins, or `first_thinking` where an effort is asked for; `idle` from one sign
    of life to the next once there is text; `total` for all of it, where the call names no limit of its own.
    """

    first: float = 60.0
    first_thinking: float = 120.0
    idle: float = 30.0
    total: float = 180.0


MARGIN = 0.25
"""Seconds before the end of its layer at which a call is ended by itself: so what it has said by then can be kept."""


class Timeouts:
    """Ends a call that is silent for too long or takes too long, from the moment it is sent."""

    def __init__(self, inner: Provider, settings: TimeoutSettings | None = None) -> None:
        self._inner = inner
        self._settings = settings or TimeoutSettings()

    async def complete(self, call: Call, on_text: OnText) -> Draft:
        """Ask within the limits.

        Raises:
            ProviderError: TIMEOUT when its time is up or nothing came, DEADLINE when that of its layer is, STALLED
                when no more came, and what the call raises.
        """
        watch = _Watchdog(call, self._settings, on_text)
        with watch.start():
            return await self._inner.complete(call, watch.on_text)
        raise watch.verdict()


class _Watchdog:
    """One call's limits: a scope whose end moves with each sign of life, up to the last one."""

    def __init__(self, call: Call, settings: TimeoutSettings, on_text: OnText) -> None:
        self._on_text = on_text
        self._first = settings.first if call.effort is None else settings.first_thinking
        self._idle = settings.idle
        self._total = settings.total if call.timeout_seconds is None else call.timeout_seconds
        self._scope = anyio.CancelScope()
        self._end = 0.0
        self._alive = self._has_text = self._ends_with_layer = False

    def start(self) -> anyio.CancelScope:
        """Let the time run from now on, and return the scope that is left early when it is up."""
        started = anyio.current_time()
        own, layers = started + self._total, anyio.current_effective_deadline() - MARGIN
        self._ends_with_layer = started < layers < own
        self._end = layers if self._ends_with_layer else own
        self._scope.deadline = min(self._end, started + self._first)
        return self._scope

    def on_text(self, piece: str) -> None:
        """Take a sign of life. Before the first text, silence is thinking and may last longer."""
        self._alive = True
        self._has_text = self._has_text or bool(piece)
        limit = self._idle if self._has_text else self._first
        self._scope.deadline = min(self._end, anyio.current_time() + limit)
        self._on_text(piece)

    def verdict(self) -> ProviderError:
        """Which of the limits it was."""
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
