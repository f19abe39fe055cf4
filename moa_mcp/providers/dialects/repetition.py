"""Detects a model that repeats the same text in a loop, while the answer is still arriving."""

from __future__ import annotations

from moa_mcp.domain.errors import ProviderError, Reason

PROBE_CHARS = 50
"""Length of the probe: the last characters of a text, which are counted in the text before."""

MAX_REPEATS = 20
"""How often the probe may occur: a few times in a table or a list, without end in a loop."""

WINDOW_CHARS = 32 * 1024
"""The probe is counted in this many characters at the end of the text."""

STEP_CHARS = 4096
"""Characters between two checks; each check takes some microseconds."""

MIN_LETTERS = 3
"""Different letters that a probe needs, because rulers, matrices and blank lines may repeat."""


class RepetitionDetector:
    """Checks a text for loops as the text grows."""

    def __init__(self) -> None:
        self._new: list[str] = []
        self._size = 0
        self._tail = ""

    def feed(self, piece: str) -> None:
        """Take the next piece. Raises ProviderError, DEGENERATE."""
        self._new.append(piece)
        self._size += len(piece)
        if self._size >= STEP_CHARS:
            self._tail = (self._tail + "".join(self._new))[-WINDOW_CHARS:]
            self._new.clear()
            self._size = 0
            self.check(self._tail)

    def check(self, text: str) -> None:
        """Check whether `text` ends in a loop. Raises ProviderError, DEGENERATE."""
        if len(text) <= PROBE_CHARS * MAX_REPEATS:
            return
        probe = text[-PROBE_CHARS:]
        if len(set(filter(str.isalpha, probe))) < MIN_LETTERS:
            return
        if text.count(probe, -WINDOW_CHARS) > MAX_REPEATS:
            raise ProviderError(
                Reason.DEGENERATE, f"its last {PROBE_CHARS} characters came more than {MAX_REPEATS} times"
            )
