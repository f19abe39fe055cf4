"""What is reported about a call while it goes on: a retry, a queue, a model that gets no calls for a while, a reply.

The signature of a provider has no parameter for notices. The caller sets a listener in its own context
(`notices_to`), and a wrapper or the wire reports to that listener, if there is one.
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


@dataclass(frozen=True, slots=True)
class ReplyBegun:
    """A reply begins to arrive: a stream of events, or else a whole answer."""

    is_stream: bool


Notice: TypeAlias = Retry | Queued | Cooled | ReplyBegun
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
