"""Notices a model that says the same again and again, while it still does so."""

from __future__ import annotations

from moa_mcp.domain.errors import ProviderError, Reason

PROBE_CHARS = 50
"""Characters of the end of a text that are looked for in what went before."""

MAX_REPEATS = 20
"""How often they may be found; a table or a list has them a few times, a loop has them without end."""

WINDOW_CHARS = 32 * 1024
"""Characters that are looked at."""

STEP_CHARS = 4096
"""Characters between two looks: each costs some microseconds."""

MIN_LETTERS = 3
"""Different letters that a probe needs: rulers, matrices and blank lines repeat themselves for good reason."""


class RepetitionDetector:
    """Feed it a text as it grows."""

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
        """Look whether the end of `text` is a loop. Raises ProviderError, DEGENERATE."""
        if len(text) <= PROBE_CHARS * MAX_REPEATS:
            return
        probe = text[-PROBE_CHARS:]
        if len(set(filter(str.isalpha, probe))) < MIN_LETTERS:
            return
        if text.count(probe, -WINDOW_CHARS) > MAX_REPEATS:
            raise ProviderError(
                Reason.DEGENERATE, f"its last {PROBE_CHARS} characters came more than {MAX_REPEATS} times"
            )
