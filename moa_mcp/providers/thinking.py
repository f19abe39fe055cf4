"""A filter that keeps thoughts out of a text while it is still arriving, wherever its pieces are split.

What a whole reply said and thought is `text.part_thinking`; this is for showing an answer as it grows.
"""

from __future__ import annotations

import re

_TAG = re.compile(r"<(/?)think(?:ing)?>", re.IGNORECASE)
_TAGS = ("<think>", "<thinking>", "</think>", "</thinking>")
_LONGEST = len(_TAGS[-1])


class ThoughtFilter:
    """Feed it the pieces of a reply, and it returns what of them is no thought.

    The beginning of what may become a tag is held back. Tags are counted, so that a thought which quotes a
    whole `<think>` block does not end with it. A closing tag that was never opened cannot be foreseen: what
    came in earlier pieces is shown by then.
    """

    def __init__(self) -> None:
        self._held = ""
        self._depth = 0

    def feed(self, piece: str) -> str:
        text = self._held + piece
        if "<" in text:
            return self._parted(text)
        return "" if self._depth else text

    def close(self) -> str:
        """What was held back and turned out to be text after all."""
        held, self._held = self._held, ""
        return "" if self._depth else held

    def _parted(self, text: str) -> str:
        shown: list[str] = []
        start = 0
        for tag in _TAG.finditer(text):
            if self._depth == 0:
                shown.append(text[start : tag.start()])
            self._count(tag.group(1) == "/", shown)
            start = tag.end()
        rest = self._hold_back(text[start:])
        if self._depth == 0:
            shown.append(rest)
        return "".join(shown)

    def _count(self, closing: bool, shown: list[str]) -> None:
        if closing and self._depth == 0:
            shown.clear()  # the template ate the opening tag: all before this one was thought
        self._depth = max(0, self._depth - 1) if closing else self._depth + 1

    def _hold_back(self, text: str) -> str:
        start = text.rfind("<", max(0, len(text) - _LONGEST))
        beginning = text[start:].lower() if start >= 0 else ""
        if not beginning or not any(tag.startswith(beginning) for tag in _TAGS):
            self._held = ""
            return text
        self._held = text[start:]
        return text[:start]
