"""What a wrapper reports while a call waits: a retry, a queue, or a model that gets no calls for a while.

The signature of a provider has no parameter for notices. The caller sets a listener in its own context
(`notices_to`), and a wrapper reports to that listener, if there is one.
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
    """The provider already has `max_concurrency` calls; this call waits for its turn."""

    max_concurrency: int


@dataclass(frozen=True, slots=True)
class Cooled:
    """The model failed too often: no call is sent to it for `seconds`."""

    seconds: float
    reason: Reason


Notice: TypeAlias = Retry | Queued | Cooled
OnNotice = Callable[[Notice], None]
"""Called immediately with each notice; must not block."""

_listener: ContextVar[OnNotice | None] = ContextVar("listener", default=None)


@contextmanager
def notices_to(listener: OnNotice) -> Generator[None]:
    """Send the notices of the calls made in this block to `listener`."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


def report(notice: Notice) -> None:
    """Send `notice` to the listener of this call, if there is one."""
    if (listener := _listener.get()) is not None:
        listener(notice)
