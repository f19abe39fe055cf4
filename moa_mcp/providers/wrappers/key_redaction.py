"""A provider around a provider: the key that a call carries comes back in nothing that the reply says.

A reply is kept as it was sent, but readers see it cleaned (`text.clean`). So a key is looked for in what they see, too:
a text in which one hides between invisible characters is kept without these.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from moa_mcp.domain.model import Call, Draft
from moa_mcp.domain.text import strip_invisible
from moa_mcp.providers.base import OnText, Provider
from moa_mcp.providers.wire.keys import key_forms

MASK = "[key]"


class KeyRedaction:
    """Takes every form of `key` out of pieces and drafts; out of errors, the wire (providers/wire/http.py) takes it."""

    def __init__(self, inner: Provider, key: str) -> None:
        self._inner = inner
        self._forms = key_forms(key)

    async def complete(self, call: Call, on_text: OnText) -> Draft:
        """Ask, and take the key out of the answer. Raises ProviderError."""
        pieces = _Pieces(self._forms, on_text)
        draft = await self._inner.complete(call, pieces.on_text)
        pieces.close()
        return replace(
            draft,
            text=_masked(draft.text, self._forms),
            thinking=_masked(draft.thinking, self._forms),
            served_model=draft.served_model and _masked(draft.served_model, self._forms),
            finish_reason=draft.finish_reason and _masked(draft.finish_reason, self._forms),
        )


def _masked(text: str, forms: tuple[str, ...]) -> str:
    seen = strip_invisible(text)
    if any(form in seen for form in forms):
        text = seen
    for form in forms:
        text = text.replace(form, MASK)
    return text


class _Pieces:
    """Passes pieces on, but holds back an end that may be where a key begins."""

    def __init__(self, forms: tuple[str, ...], on_text: Callable[[str], None]) -> None:
        self._forms = forms
        self._on_text = on_text
        self._held = ""

    def on_text(self, piece: str) -> None:
        # Without escapes, no control sequence that is cut in two becomes whole behind this.
        text = _masked((self._held + piece).replace("\x1b", ""), self._forms)
        if (seen := strip_invisible(text)) != text and self._beginning(seen) < len(seen):
            text = seen
        start = self._beginning(text)
        self._held = text[start:]
        self._on_text(text[:start])

    def close(self) -> None:
        """Pass on what was held back and turned out to be text after all."""
        if self._held:
            self._on_text(self._held)

    def _beginning(self, text: str) -> int:
        return min(_partial_match_start(text, form) for form in self._forms)


def _partial_match_start(text: str, form: str) -> int:
    """Where at the end of `text` a part of `form` begins; its length if none does."""
    start = max(0, len(text) - len(form) + 1)
    while (start := text.find(form[0], start)) >= 0:
        if form.startswith(text[start:]):
            return start
        start += 1
    return len(text)
