"""What a wrapper reports while a call waits: a retry, a queue, a model that is left alone for a while.

A provider's signature has no place for it, and need not have: whoever makes the call listens in its own context
(`notices_to`), and a wrapper reports to whoever listens there, or to nobody.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TypeAlias

from moa_mcp.domain.errors import Reason


@dataclass(frozen=True, slots=True)
class Retry:
    """A try failed; the next one begins in `seconds`."""

    seconds: float
    reason: Reason
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Queued:
    """The provider has as many calls as it is sent at a time; this one waits for its turn."""

    max_concurrency: int


@dataclass(frozen=True, slots=True)
class Cooled:
    """The model failed too often: no call is sent to it for `seconds`."""

    seconds: float
    reason: Reason


Notice: TypeAlias = Retry | Queued | Cooled
OnNotice = Callable[[Notice], None]
"""Called at once with each notice; must not block."""

_listener: ContextVar[OnNotice | None] = ContextVar("listener", default=None)


@contextmanager
def notices_to(listener: OnNotice) -> Generator[None]:
    """Give `listener` the notices of the calls that are made in the block."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


def report(notice: Notice) -> None:
    """Give `notice` to whoever listens to this call."""
    if (listener := _listener.get()) is not None:
        listener(notice)
