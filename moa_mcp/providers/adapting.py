"""A provider around a provider: what a model refuses in a request is left out, once, remembered and said.

A setting that it does not know is not sent to it again. Drafts that do not fit its window are shortened by a
fixed rule; the question never is.
"""

from __future__ import annotations

from collections import defaultdict
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


class Refusals:
    """The fields of a call that each model was found to refuse."""

    def __init__(self) -> None:
        self._fields: defaultdict[str, set[str]] = defaultdict(set)

    def learn(self, model: str, field: str) -> None:
        """Remember that a model refuses a field."""
        self._fields[model].add(field)

    def in_call(self, call: Call) -> list[str]:
        """The fields that are set in a call and that its model refuses."""
        return [name for name in sorted(self._fields.get(call.model, ())) if getattr(call, name) is not None]


class Adapting:
    """Asks once more without what was refused. `refusals` may be shared by all that ask the same models."""

    def __init__(self, inner: Provider, refusals: Refusals) -> None:
        self._inner = inner
        self._refusals = refusals

    async def complete(self, call: Call, on_text: OnText) -> Draft:
        """Ask, if need be adapted. Raises the ProviderError of the last try."""
        notes: list[str] = []
        while True:
            call = self._without_refused(call, notes)
            try:
                draft = await self._inner.complete(call, on_text)
            except ProviderError as error:
                if error.sent_text or not self._learns(call, error, notes):
                    raise
                if error.reason is Reason.TOO_LONG:
                    call = _shortened(call)
                    notes.append(SHORTENED)
            else:
                return replace(draft, notes=(*draft.notes, *notes)) if notes else draft

    def _without_refused(self, call: Call, notes: list[str]) -> Call:
        refused = self._refusals.in_call(call)
        if not refused:
            return call
        notes.extend(f"{name} was not sent: the model refuses it" for name in refused)
        cleared: dict[str, Any] = dict.fromkeys(refused)
        return replace(call, **cleared)

    def _learns(self, call: Call, error: ProviderError, notes: list[str]) -> bool:
        """Whether the call can be asked in another way; a field that is refused is remembered."""
        if error.reason is Reason.TOO_LONG:
            return SHORTENED not in notes and _shortened(call).messages != call.messages
        field = _FIELDS.get(error.parameter or "")
        if field is None or getattr(call, field) is None:
            return False
        self._refusals.learn(call.model, field)
        return True


def _shortened(call: Call) -> Call:
    messages = tuple(replace(message, text=with_shorter_fences(message.text)) for message in call.messages)
    return replace(call, messages=messages)
