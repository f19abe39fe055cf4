"""A wrapper that removes the API key and other secrets from replies.

A reply is stored as it was sent, but readers see it without invisible characters (`text.strip_invisible`). So the key
is also searched for in the visible text; if it is found there, the text is stored without invisible characters.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from moa_mcp.domain.model import Call, Draft, Result
from moa_mcp.domain.text import strip_invisible
from moa_mcp.providers.base import OnText, Provider
from moa_mcp.providers.wire.keys import key_forms

MASK = "[key]"


class KeyRedaction:
    """Masks every form of the secrets in pieces and drafts. In errors, `providers/wire/http.py` masks them."""

    def __init__(self, inner: Provider, *secrets: str) -> None:
        self._inner = inner
        self._forms = tuple(form for secret in sorted(secrets, key=len, reverse=True) for form in key_forms(secret))

    async def complete(self, call: Call, on_text: OnText) -> Result:
        """Ask, and mask the secrets in the answer. Raises ProviderError."""
        pieces = _Pieces(self._forms, on_text)
        result = await self._inner.complete(call, pieces.on_text)
        pieces.close()
        if isinstance(result, Draft):
            text, thinking = _mask(result.text, self._forms), _mask(result.thinking, self._forms)
            result = replace(result, text=text, thinking=thinking)
        return replace(
            result,
            served_model=result.served_model and _mask(result.served_model, self._forms),
            finish_reason=result.finish_reason and _mask(result.finish_reason, self._forms),
        )


def _mask(text: str, forms: tuple[str, ...]) -> str:
    visible = strip_invisible(text)
    if any(form in visible for form in forms):
        text = visible
    for form in forms:
        text = text.replace(form, MASK)
    return text


class _Pieces:
    """Passes pieces on, but holds back an end that may be the beginning of a key."""

    def __init__(self, forms: tuple[str, ...], on_text: Callable[[str], None]) -> None:
        self._forms = forms
        self._on_text = on_text
        self._held = ""

    def on_text(self, piece: str) -> None:
        # Escapes are removed here, else a control sequence split over two pieces would become whole after this step.
        text = _mask((self._held + piece).replace("\x1b", ""), self._forms)
        if (visible := strip_invisible(text)) != text and self._find_beginning(visible) < len(visible):
            text = visible
        start = self._find_beginning(text)
        self._held = text[start:]
        self._on_text(text[:start])

    def close(self) -> None:
        """Pass on the text that was held back and is not a key."""
        if self._held:
            self._on_text(self._held)

    def _find_beginning(self, text: str) -> int:
        return min(_partial_match_start(text, form) for form in self._forms)


def _partial_match_start(text: str, form: str) -> int:
    """The index where `text` ends with a beginning of `form`; the length of `text` if it does not."""
    start = max(0, len(text) - len(form) + 1)
    while (start := text.find(form[0], start)) >= 0:
        if form.startswith(text[start:]):
            return start
        start += 1
    return len(text)
