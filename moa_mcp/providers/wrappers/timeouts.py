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
class Patience:
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


class Timed:
    """Ends a call that is silent for too long or takes too long, from the moment it is sent."""

    def __init__(self, inner: Provider, patience: Patience | None = None) -> None:
        self._inner = inner
        self._patience = patience or Patience()

    async def complete(self, call: Call, on_text: OnText) -> Draft:
        """Ask within the limits.

        Raises:
            ProviderError: TIMEOUT when its time is up or nothing came, DEADLINE when that of its layer is, STALLED
                when no more came, and what the call raises.
        """
        watch = _Watch(call, self._patience, on_text)
        with watch.begun():
            return await self._inner.complete(call, watch.hear)
        raise watch.verdict()


class _Watch:
    """One call's limits: a scope whose end moves with each sign of life, up to the last one."""

    def __init__(self, call: Call, patience: Patience, on_text: OnText) -> None:
        self._on_text = on_text
        self._first = patience.first if call.effort is None else patience.first_thinking
        self._idle = patience.idle
        self._total = patience.total if call.timeout_seconds is None else call.timeout_seconds
        self._scope = anyio.CancelScope()
        self._end = 0.0
        self._alive = self._heard = self._ends_with_layer = False

    def begun(self) -> anyio.CancelScope:
        """Let the time run from now on, and return the scope that is left early when it is up."""
        started = anyio.current_time()
        own, layers = started + self._total, anyio.current_effective_deadline() - MARGIN
        self._ends_with_layer = started < layers < own
        self._end = layers if self._ends_with_layer else own
        self._scope.deadline = min(self._end, started + self._first)
        return self._scope

    def hear(self, piece: str) -> None:
        """Take a sign of life. Before the first text, silence is thinking and may last longer."""
        self._alive = True
        self._heard = self._heard or bool(piece)
        patience = self._idle if self._heard else self._first
        self._scope.deadline = min(self._end, anyio.current_time() + patience)
        self._on_text(piece)

    def verdict(self) -> ProviderError:
        """Which of the limits it was."""
        if self._scope.deadline >= self._end and self._ends_with_layer:
            reason, detail = Reason.DEADLINE, ""
        elif self._scope.deadline >= self._end:
            reason, detail = Reason.TIMEOUT, f"after {self._total:g} s"
        elif self._heard:
            reason, detail = Reason.STALLED, f"nothing for {self._idle:g} s"
        elif self._alive:
            reason, detail = Reason.STALLED, f"no word for {self._first:g} s"
        else:
            reason, detail = Reason.TIMEOUT, f"nothing came for {self._first:g} s"
        return ProviderError(reason, detail, sent_text=self._heard, reached=True)
