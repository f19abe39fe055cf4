"""Takes the markers and the code of a run out of what its models write.

Prompts enclose drafts in markers with a code (`fence` and `tag` in text.py). Some models, most of all small ones, copy
them into their replies, where no reader should see them.
"""

from __future__ import annotations

import re
from functools import lru_cache

from moa_mcp.domain.text import strip_invisible

_NUMBERED = r"(?:draft|response|advice) \d{1,3}|candidate [A-Z]{1,2}|(?:earlier|later) reply of Model \d{1,3}"
_LABELS = rf"(?:end of )?(?:{_NUMBERED})(?: [0-9a-f]{{1,20}})?"
_END = r">{0,2}[ \t]*\n?"

_MAX_LABEL = 60
_MAX_HELD = 100
_MAY_BE_MARKER = re.compile(rf"<{{1,2}}/?(?:[A-Za-z][A-Za-z0-9 ]{{0,{_MAX_LABEL + 20}}})?>{{0,2}}[ \t]*\Z")


class MarkerFilter:
    """Filters a reply while it streams in, in time proportional to its length.

    It takes out every marker that has the run's code `nonce`, every marker of a draft whose code is missing or cut,
    and the code itself. `removed` says whether there was anything.
    """

    def __init__(self, nonce: str) -> None:
        self.removed = False
        self._nonce = nonce
        self._beginnings = tuple(nonce[:size] for size in range(len(nonce) - 1, 0, -1))
        self._held = ""
        self._last = "\n"

    def feed(self, piece: str) -> str:
        """Add the next piece and return the text that can be shown now."""
        text = self._held + piece
        visible = strip_invisible(text)
        if visible != text and (_marker(self._nonce).search(visible) or self._safe_end(visible) < len(visible)):
            text = visible
        end = self._safe_end(text)
        self._held = text[end:]
        return self._filtered(text[:end])

    def close(self) -> str:
        """Return the rest of the text."""
        held, self._held = self._held, ""
        return self._filtered(held)

    def _filtered(self, text: str) -> str:
        may_have = "<" in text or self._nonce in text.lower()  # much faster than to search for all markers
        kept = _marker(self._nonce).sub(self._replacement, text) if may_have else text
        self._last = kept[-1:] or self._last
        return kept

    def _replacement(self, found: re.Match[str]) -> str:
        """Never join what stood around a marker: that could make another one."""
        self.removed = True
        if found["marker"] is None:
            return "…"
        before = found.string[found.start() - 1] if found.start() else self._last
        return "" if before.isspace() else " "

    def _safe_end(self, text: str) -> int:
        """Return the end of the part of `text` that has no beginning of a marker or of the code at its end."""
        tail = max(0, len(text) - _MAX_HELD)
        begun = _MAY_BE_MARKER.search(text, tail) if text.find("<", tail) >= 0 else None
        end = begun.start() if begun else len(text)
        lower = text[-len(self._nonce) :].lower()
        if lower.endswith(self._beginnings):
            end = min(end, len(text) - next(len(part) for part in self._beginnings if lower.endswith(part)))
        return end


@lru_cache(maxsize=512)
def _marker(nonce: str) -> re.Pattern[str]:
    """What the filter of a run takes out. Made once per run, because it takes as long as a short reply."""
    return re.compile(
        rf"(?P<marker><{{1,2}}/?[A-Za-z][A-Za-z0-9 ]{{0,{_MAX_LABEL}}}{nonce}{_END}|<</?{_LABELS}>>{_END}"
        rf"|</?{_LABELS}>{_END}|<{{1,2}}/?{_LABELS}\Z)|{nonce}",
        re.IGNORECASE,
    )


def without_markers(text: str, nonce: str) -> str:
    """Return a whole reply without the markers and the code of its run; see `MarkerFilter`."""
    if "<" not in text and nonce[:4] not in strip_invisible(text).lower():
        return text
    markers = MarkerFilter(nonce)
    kept = markers.feed(text) + markers.close()
    return kept.strip() if markers.removed else text
