"""A filter that removes thoughts from a text while it is still arriving, wherever its pieces are split.

`text.ThinkingParser` recognizes thoughts; this filter holds back text that may still become a tag.
"""

from __future__ import annotations

from moa_mcp.domain.text import ThinkingParser

_TAGS = (
    *(f"<{slash}{word}>" for slash in ("", "/") for word in ("think", "thinking", "thought")),
    *(f"<|{token}|>" for token in ("start", "channel", "constrain", "message", "end", "return", "call")),
)
_LONGEST = max(map(len, _TAGS))


class ThinkingFilter:
    """Takes the pieces of a reply, and returns the text in them that is not a thought.

    If a piece ends with a possible part of a tag, that part is held back until the next piece arrives. A closing tag
    without an opening tag cannot be foreseen: the text of earlier pieces is already shown by then.
    """

    def __init__(self) -> None:
        self._held = ""
        self._thoughts = ThinkingParser()

    def feed(self, piece: str) -> str:
        text = self._held + piece
        if "<" in text:
            text = self._hold_back_tag(text)
        return self._thoughts.feed(text, self._held[:1])

    def close(self) -> str:
        """Return the held-back text that is not a tag."""
        held, self._held = self._held, ""
        return self._thoughts.feed(held) + self._thoughts.end()

    def _hold_back_tag(self, text: str) -> str:
        start = text.rfind("<", max(0, len(text) - _LONGEST))
        beginning = text[start:].lower() if start >= 0 else ""
        if not beginning or not any(tag.startswith(beginning) for tag in _TAGS):
            self._held = ""
            return text
        self._held = text[start:]
        return text[:start]
