"""The interface between the flows and the services that answer their calls.

A provider handles one call and does not know the mixture. Everything around the call (retries, limits, metering,
redaction) is a wrapper: a provider that contains another provider.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from moa_mcp.domain.model import Call, Result, Usage
from moa_mcp.domain.spend import Spend

if TYPE_CHECKING:
    from moa_mcp.providers.budget import Outlay

OnText = Callable[[str], None]
"""Called with each piece of the answer as it arrives (never with thoughts); must not block.

An empty piece is a sign of life: the request is being sent, or data arrived that is not shown, such as a thought. It
counts as one token; a long thought gives as many pieces as it has tokens.
The function may end the call by raising a ProviderError.
"""


class Provider(Protocol):
    """Answers calls."""

    async def complete(self, call: Call, on_text: OnText) -> Result:
        """Ask the model and wait for its whole answer.

        Raises:
            ProviderError: the call gave no draft, for whatever reason.
        """
        ...


@runtime_checkable
class UsageSource(Protocol):
    """A provider that also knows the usage of a cancelled call, which gave neither a draft nor an error."""

    def usage_of(self, call: Call) -> Usage:
        """The usage of a call so far, summed over its tries; without numbers if no model was reached."""
        ...


def usage_of(provider: Provider, call: Call) -> Usage:
    """The usage of a cancelled call, as far as its provider knows it."""
    return provider.usage_of(call) if isinstance(provider, UsageSource) else Usage()


class Day(Protocol):
    """The share of its owner's daily allowance that a run holds.

    No call may take the run beyond `amount`. A call is sent only once `sent` covers it.
    """

    @property
    def amount(self) -> Spend: ...

    @property
    def sent(self) -> Spend: ...

    @property
    def exhausted(self) -> bool:
        """Whether the last request for more got less than it asked for."""
        ...

    async def book(self) -> None:
        """Record what the run is about to send, and request as much of the day as the run wants now."""
        ...

    def book_soon(self) -> None:
        """Start `book` in the background, without waiting for it."""
        ...


@runtime_checkable
class Booking(Protocol):
    """A provider that books each call in its owner's day before it sends the call."""

    def book_in(self, day: Day) -> Outlay:
        """Book in `day` from now on, and return the amounts to book."""
        ...

    def announce(self, calls: Iterable[Call]) -> None:
        """Add the next calls to the amounts to book, so that one write books all of them."""
        ...


def ignore_text(piece: str) -> None:
    """An `OnText` for callers that need only the whole answer."""
