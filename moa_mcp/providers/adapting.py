"""A provider around a provider: what a model refuses in a request is left out, once, remembered and said.

A setting that it does not know is not sent to it again. Drafts that do not fit its window are shortened by a
fixed rule; the question never is.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from moa_mcp.errors import ProviderError, Reason
from moa_mcp.model import Call, Draft
from moa_mcp.providers.base import OnText, Provider
from moa_mcp.text import with_shorter_fences

_FIELDS = {
    "temperature": "temperature",
    "max_tokens": "max_tokens",
    "max_completion_tokens": "max_tokens",
    "reasoning_effort": "effort",
    "reasoning": "effort",
    "output_config": "effort",
    "thinking": "effort",
}
"""The field of a call behind each key of a request that a model may refuse."""

SHORTENED = "the drafts it read were shortened to fit its context"


class Adapting:
    """Asks once more, without what was refused."""

    def __init__(self, inner: Provider) -> None:
        self._inner = inner
        self._refused: dict[str, set[str]] = {}

    async def complete(self, call: Call, on_text: OnText) -> Draft:
        """Ask, if need be adapted. Raises the ProviderError of the last try."""
        call, left_out = self._without_refused(call)
        try:
            return _noting(await self._inner.complete(call, on_text), left_out)
        except ProviderError as error:
            adapted = self._adapted(call, error)
            if adapted is None or error.sent_text:
                raise
        draft = await self._inner.complete(adapted, on_text)
        if adapted.messages != call.messages:
            return _noting(draft, [*left_out, SHORTENED])
        return _noting(draft, self._without_refused(call)[1] + left_out)

    def _without_refused(self, call: Call) -> tuple[Call, list[str]]:
        refused = [name for name in sorted(self._refused.get(call.model, ())) if getattr(call, name) is not None]
        cleared: dict[str, Any] = dict.fromkeys(refused)
        return replace(call, **cleared), [f"{name} was not sent: the model refuses it" for name in refused]

    def _adapted(self, call: Call, error: ProviderError) -> Call | None:
        """The call as it may be asked once more, or None."""
        if error.reason is Reason.TOO_LONG:
            messages = tuple(replace(m, text=with_shorter_fences(m.text)) for m in call.messages)
            return replace(call, messages=messages) if messages != call.messages else None
        field = _FIELDS.get(error.parameter or "")
        if field is None or getattr(call, field) is None:
            return None
        self._refused.setdefault(call.model, set()).add(field)
        return self._without_refused(call)[0]


def _noting(draft: Draft, notes: list[str]) -> Draft:
    return replace(draft, notes=(*draft.notes, *notes)) if notes else draft
