"""A wrapper with the one rule for partial answers: a long enough part of an answer is kept as a draft.

A few words of an answer mislead more than they help. Some paragraphs are useful and already paid for; such a draft is
marked as cut.
"""

from __future__ import annotations

from moa_mcp.domain.errors import ProviderError, Reason
from moa_mcp.domain.model import Call, ChatCall, Draft, Failure, Result
from moa_mcp.providers.base import OnText, Provider

MIN_PARTIAL_CHARS = 200
"""A part with at least this many characters is kept."""

_BROKEN_OFF = {Reason.CUT, Reason.STALLED, Reason.TIMEOUT, Reason.DEADLINE, Reason.BUDGET}


class KeepPartial:
    """Turns a partial answer into a cut draft, or into an error if it is too short."""

    def __init__(self, inner: Provider) -> None:
        self._inner = inner

    async def complete(self, call: Call, on_text: OnText) -> Result:
        """Ask, and keep a long enough part if the answer breaks off. Raises ProviderError."""
        pieces: list[str] = []

        def collect(piece: str) -> None:
            pieces.append(piece)
            on_text(piece)

        try:
            result = await self._inner.complete(call, collect)
        except ProviderError as error:
            if not _is_enough(call, error, text := "".join(pieces).strip()):
                raise
            return Draft(text, error.served_model, usage=Failure.of(error).usage, cut=True, notes=(str(error),))
        if isinstance(result, Draft) and result.cut and len(result.text) < MIN_PARTIAL_CHARS:
            raise _too_short(result)
        return result


def _is_enough(call: Call, error: ProviderError, text: str) -> bool:
    return isinstance(call, ChatCall) and error.reason in _BROKEN_OFF and len(text) >= MIN_PARTIAL_CHARS


def _too_short(draft: Draft) -> ProviderError:
    return ProviderError(
        Reason.CUT,
        f"after {len(draft.text)} characters",
        sent_text=True,
        served_model=draft.served_model,
        reached=True,
        usage=draft.usage,
    )
