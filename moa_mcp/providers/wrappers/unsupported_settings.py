"""A wrapper that repeats a call without the setting that the model refused, and adds a note to the draft.

A setting that the model does not know is not sent to it again in any run. A refused value is left out of that call
only. Fenced drafts that do not fit the context window are shortened by a fixed rule; the caller's text never is.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import Any

from moa_mcp.domain.errors import ProviderError, Reason
from moa_mcp.domain.model import Call, Draft
from moa_mcp.domain.text import shorten_drafts
from moa_mcp.providers.base import OnText, Provider
from moa_mcp.providers.dialects.error_mapping import is_unknown_setting
from moa_mcp.providers.wrappers.retrying import RetryBudget

_FIELDS = {
    "temperature": "temperature",
    "max_tokens": "max_tokens",
    "max_completion_tokens": "max_tokens",
    "response_format": "json_reply",
    "reasoning_effort": "effort",
    "reasoning": "effort",
    "output_config": "effort",
    "thinking": "effort",
}
"""The field of a call for each request key that a model may refuse."""

SHORTENED_NOTE = "the drafts it read were shortened to fit its context"


def refused_field(error: ProviderError) -> str | None:
    """The field of a call that the provider refused, if the field can be left out; else None."""
    return _FIELDS.get(error.parameter or "")


class UnsupportedSettings:
    """The call fields that each model does not know, as learned from its errors."""

    def __init__(self) -> None:
        self._fields: defaultdict[str, set[str]] = defaultdict(set)

    def learn(self, model: str, field: str) -> None:
        """Remember that a model does not know a field."""
        self._fields[model].add(field)

    def in_call(self, call: Call) -> list[str]:
        """The fields that are set in the call but that its model does not know."""
        return [name for name in sorted(self._fields.get(call.model, ())) if getattr(call, name) is not None]


class DropUnsupportedSettings:
    """Asks again without the refused setting. `unsupported` may be shared between runs.

    `nonce` is the nonce of the run, which marks its drafts. Each repeated request uses up a spare call of
    `retry_budget`.
    """

    def __init__(
        self, inner: Provider, unsupported: UnsupportedSettings, nonce: str, retry_budget: RetryBudget
    ) -> None:
        self._inner = inner
        self._unsupported = unsupported
        self._nonce = nonce
        self._retry_budget = retry_budget

    async def complete(self, call: Call, on_text: OnText) -> Draft:
        """Ask, and adapt the call if needed. Raises the ProviderError of the last try."""
        notes: list[str] = []
        while True:
            call = self._without_unknown(call, notes)
            try:
                draft = await self._inner.complete(call, on_text)
            except ProviderError as error:
                adapted = None if error.sent_text else self._adapt(call, error, notes)
                if adapted is None or not self._retry_budget.take_spare():
                    raise
                call = adapted
            else:
                return replace(draft, notes=(*draft.notes, *notes)) if notes else draft

    def _without_unknown(self, call: Call, notes: list[str]) -> Call:
        unknown = self._unsupported.in_call(call)
        if not unknown:
            return call
        notes.extend(f"{name} was not sent: the model refuses it" for name in unknown)
        return _without(call, *unknown)

    def _adapt(self, call: Call, error: ProviderError, notes: list[str]) -> Call | None:
        """The call in a form that the model may accept; None if there is no such form."""
        if error.reason is Reason.TOO_LONG:
            return None if SHORTENED_NOTE in notes else self._shorten(call, notes)
        field = refused_field(error)
        if field is None or getattr(call, field) is None:
            return None
        if is_unknown_setting(error.detail):
            self._unsupported.learn(call.model, field)
            return call
        notes.append(f"{field} was not sent: the model refuses {getattr(call, field)}")
        return _without(call, field)

    def _shorten(self, call: Call, notes: list[str]) -> Call | None:
        messages = tuple(replace(message, text=shorten_drafts(message.text, self._nonce)) for message in call.messages)
        if messages == call.messages:
            return None
        notes.append(SHORTENED_NOTE)
        return replace(call, messages=messages)


def _without(call: Call, *fields: str) -> Call:
    cleared: dict[str, Any] = dict.fromkeys(fields)
    return replace(call, **cleared)
