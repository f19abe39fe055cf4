"""The seam between a flow's calls and the services that answer them.

A provider knows one call, never the mixture. What is not the call itself (retries, limits, metering,
redaction) is a provider around a provider.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable

from moa_mcp.model import Call, Draft, Usage

OnText = Callable[[str], None]
"""Called with each piece of the answer as it arrives (never with thoughts); must not block. An empty piece is
a sign of life: data came, such as a thought, but nothing that is to be shown. Whoever hears may end the call by a
ProviderError."""


class Provider(Protocol):
    """Whoever can answer a call."""

    async def complete(self, call: Call, on_text: OnText) -> Draft:
        """Ask the model and wait for its whole answer.

        Raises:
            ProviderError: the call gave no draft, whatever the cause.
        """
        ...


@runtime_checkable
class Accounting(Protocol):
    """A provider that also knows what a call came to which was cut off, and so gave neither draft nor error."""

    def usage_of(self, call: Call) -> Usage:
        """What a call came to by now, all its tries together; all of it None where no model was reached."""
        ...


def usage_of(provider: Provider, call: Call) -> Usage:
    """What a call that was cut off came to, as far as its provider knows."""
    return provider.usage_of(call) if isinstance(provider, Accounting) else Usage()


def ignore_text(piece: str) -> None:
    """An `OnText` for callers that want the whole answer only."""
