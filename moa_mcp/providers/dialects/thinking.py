"""A filter that keeps thoughts out of a text while it is still arriving, wherever its pieces are split.

What is a thought is `text.ThinkingParser`; this holds back what cannot be told yet.
"""

from __future__ import annotations

from moa_mcp.domain.text import ThinkingParser

_TAGS = ("<think>", "<thinking>", "</think>", "</thinking>")
_LONGEST = len(_TAGS[-1])


class ThinkingFilter:
    """Feed it the pieces of a reply, and it returns what of them is no thought.

    What may be or become a tag at the end of a piece is held back until it is known what follows. A closing tag
    that was never opened cannot be foreseen: what came in earlier pieces is shown by then.
    """

    def __init__(self) -> None:
        self._held = ""
        self._thoughts = ThinkingParser()

    def feed(self, piece: str) -> str:
        text = self._held + piece
        if "<" in text:
            text = self._without_end(text)
        return self._thoughts.feed(text, self._held[:1])

    def close(self) -> str:
        """What was held back and turned out to be text after all."""
        held, self._held = self._held, ""
        return self._thoughts.feed(held) + self._thoughts.end()

    def _without_end(self, text: str) -> str:
        start = text.rfind("<", max(0, len(text) - _LONGEST))
        beginning = text[start:].lower() if start >= 0 else ""
        if not beginning or not any(tag.startswith(beginning) for tag in _TAGS):
            self._held = ""
            return text
        self._held = text[start:]
        return text[:start]
