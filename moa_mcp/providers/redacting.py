"""A provider around a provider: the key that a call carries comes back in nothing that the reply says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from moa_mcp.model import Call, Draft
from moa_mcp.providers.base import OnText, Provider
from moa_mcp.providers.keys import forms_of

MASK = "[key]"


class Redacting:
    """Takes every form of `key` out of pieces and drafts; out of errors, the wire (http.py) takes it."""

    def __init__(self, inner: Provider, key: str) -> None:
        self._inner = inner
        self._forms = forms_of(key)

    async def complete(self, call: Call, on_text: OnText) -> Draft:
        """Ask, and take the key out of the answer. Raises ProviderError."""
        pieces = _Pieces(self._forms, on_text)
        draft = await self._inner.complete(call, pieces.hear)
        pieces.close()
        said = "\n".join((draft.text, draft.thinking, draft.served_model or "", draft.finish_reason or ""))
        return self._masked(draft) if any(form in said for form in self._forms) else draft

    def _masked(self, draft: Draft) -> Draft:
        def mask(text: str) -> str:
            for form in self._forms:
                text = text.replace(form, MASK)
            return text

        return replace(
            draft,
            text=mask(draft.text),
            thinking=mask(draft.thinking),
            served_model=draft.served_model and mask(draft.served_model),
            finish_reason=draft.finish_reason and mask(draft.finish_reason),
        )


class _Pieces:
    """Passes pieces on, but holds back an end that may be where a key begins."""

    def __init__(self, forms: tuple[str, ...], on_text: Callable[[str], None]) -> None:
        self._forms = forms
        self._on_text = on_text
        self._held = ""

    def hear(self, piece: str) -> None:
        text = self._held + piece
        for form in self._forms:
            if form in text:
                text = text.replace(form, MASK)
        start = min(_beginning(text, form) for form in self._forms)
        self._held = text[start:]
        self._on_text(text[:start])

    def close(self) -> None:
        """Pass on what was held back and turned out to be text after all."""
        if self._held:
            self._on_text(self._held)


def _beginning(text: str, form: str) -> int:
    """Where at the end of `text` a part of `form` begins; its length if none does."""
    start = max(0, len(text) - len(form) + 1)
    while (start := text.find(form[0], start)) >= 0:
        if form.startswith(text[start:]):
            return start
        start += 1
    return len(text)
