"""The seam between a flow's calls and the services that answer them.

A provider knows one call, never the mixture. What is not the call itself (retries, limits, metering,
redaction) is a provider around a provider.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol, runtime_checkable

from moa_mcp.domain.model import Call, Draft, Usage
from moa_mcp.domain.spend import Spend

OnText = Callable[[str], None]
"""Called with each piece of the answer as it arrives (never with thoughts); must not block. An empty piece is
a sign of life: the request is being sent, or data came, such as a thought, but nothing that is to be shown. Whoever
hears may end the call by a ProviderError."""


class Provider(Protocol):
    """Whoever can answer a call."""

    async def complete(self, call: Call, on_text: OnText) -> Draft:
        """Ask the model and wait for its whole answer.

        Raises:
            ProviderError: the call gave no draft, whatever the cause.
        """
        ...


@runtime_checkable
class UsageSource(Protocol):
    """A provider that also knows what a call came to which was cut off, and so gave neither draft nor error."""

    def usage_of(self, call: Call) -> Usage:
        """What a call came to by now, all its tries together; no numbers where no model was reached."""
        ...


def usage_of(provider: Provider, call: Call) -> Usage:
    """What a call that was cut off came to, as far as its provider knows."""
    return provider.usage_of(call) if isinstance(provider, UsageSource) else Usage()


class Day(Protocol):
    """What a run has of its owner's day: no call may take it beyond `amount`, or is sent before `sent` covers it."""

    @property
    def amount(self) -> Spend: ...

    @property
    def sent(self) -> Spend: ...

    @property
    def exhausted(self) -> bool:
        """Whether the day gave less than it was asked for last."""
        ...

    async def book(self) -> None:
        """Write down what the run is about to send, and ask for as much of the day as it wants by now."""
        ...

    def book_soon(self) -> None:
        """Let that be done without waiting for it."""
        ...


class Outlay(Protocol):
    """What a run is booked at."""

    @property
    def sent(self) -> Spend:
        """What its calls have come to, with those under way and those announced at their estimates."""
        ...

    def wanted(self) -> Spend:
        """What is to be set aside for it of the day: `sent`, room for answers to grow, and the rest of its plan."""
        ...


@runtime_checkable
class Booking(Protocol):
    """A provider that books what it sends, before it does, in its owner's day."""

    def book_in(self, day: Day) -> Outlay:
        """Book there from now on. Returns what is to be booked."""
        ...

    def announce(self, calls: Iterable[Call]) -> None:
        """Take calls that come next into what is to be booked, so that one write books them all."""
        ...


def ignore_text(piece: str) -> None:
    """An `OnText` for callers that want the whole answer only."""
