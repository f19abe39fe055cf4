"""Short texts about what a run and its calls wait for, updated from events. For the live view and MCP progress."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from math import ceil

from moa_mcp.domain.errors import describe_reason
from moa_mcp.runs.events import (
    BatchStarted,
    BranchEnded,
    CallEnded,
    CallQueued,
    CallRetried,
    CallSent,
    Event,
    RunQueued,
    StragglersAwaited,
)


@dataclass(frozen=True, slots=True)
class Wait:
    """A text with a placeholder for the seconds left, and the time when the wait ends; None if that is unknown."""

    words: str
    until: float | None = None

    def at(self, now: float) -> str:
        """Return the text to show at `now`; empty when the wait is over."""
        if self.until is None:
            return self.words
        left = ceil(self.until - now)
        return self.words.format(left=left) if left > 0 else ""


class Waits:
    """The waits of one run; `clock` is in seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._run: Wait | None = None
        self._calls: dict[str, Wait] = {}
        self._stragglers: dict[str, Wait] = {}

    def on_event(self, event: Event) -> None:
        """Update the waits with an event."""
        match event:
            case RunQueued(ahead):
                self._run = Wait(f"waiting for its turn, {ahead} runs ahead" if ahead else "waiting for its turn")
            case BatchStarted():
                self._run = None
            case CallQueued(call, max_concurrency):
                self._calls[call.id] = Wait(f"waiting for its turn ({max_concurrency} at a time)")
            case CallRetried(call, seconds, reason):
                words = f"{describe_reason(reason).partition(';')[0]}, retry in {{left}} s"
                self._calls[call.id] = Wait(words, self._clock() + seconds)
            case StragglersAwaited(calls, seconds):
                wait = Wait("waiting for a slow one, {left} s left", self._clock() + seconds)
                self._stragglers = {call.id: wait for call in calls}
            case CallSent(call):
                self._calls.pop(call.id, None)
            case CallEnded(record) | BranchEnded(record):
                self._calls.pop(record.call.id, None)
                self._stragglers.pop(record.call.id, None)
            case _:
                pass

    def of(self, call_id: str, now: float) -> str:
        """Return what a call waits for now; empty if it waits only for its model."""
        waits = (self._calls.get(call_id), self._stragglers.get(call_id))
        return next(_words(waits, now), "")

    def line(self, now: float) -> str:
        """Return what the run waits for now, each text once; empty if it waits only for its models."""
        waits = (self._run, *self._calls.values(), *self._stragglers.values())
        return ", ".join(dict.fromkeys(_words(waits, now)))


def _words(waits: Iterable[Wait | None], now: float) -> Iterator[str]:
    return filter(None, (wait.at(now) for wait in waits if wait is not None))
