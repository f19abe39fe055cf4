"""Server-sent events out of bytes: a splitter without I/O, the same whatever the pieces the bytes come in."""

from __future__ import annotations

from moa_mcp.domain.errors import ProviderError, Reason

MAX_EVENT = 1024 * 1024
"""Bytes that an event may have (and so a line): a line without an end must not fill the memory."""

_MARK = b"\xef\xbb\xbf"


class EventSplitter:
    """Feed it bytes, and it returns the events that they complete, as (name, data).

    An event without data is none, and what follows the last blank line is never returned: it may be half of
    something.
    """

    def __init__(self) -> None:
        self._begun: list[bytes] = []
        self._begun_size = 0
        self._after_return = False
        self._name = ""
        self._data: list[bytes] = []
        self._size = 0

    def feed(self, chunk: bytes) -> list[tuple[str, str]]:
        """Take the next bytes of the stream.

        Raises:
            ProviderError: TOO_LARGE, for an event of more than `MAX_EVENT` bytes.
        """
        events: list[tuple[str, str]] = []
        for line in self._lines(chunk):
            if line.startswith(b"data:"):
                self._add(line[6:] if line.startswith(b"data: ") else line[5:])
            elif line:
                self._take(line)
            else:
                if self._data:
                    events.append((self._name, b"\n".join(self._data).decode("utf-8", "replace")))
                    self._data = []
                self._name, self._size = "", 0
        return events

    def _lines(self, chunk: bytes) -> list[bytes]:
        """The lines that `chunk` completes. A return ends one at once; a newline right behind it, none."""
        if not chunk:
            return []
        text = chunk[1:] if self._after_return and chunk.startswith(b"\n") else chunk
        self._after_return = chunk.endswith(b"\r")
        lines = text.splitlines()
        rest = b"" if not text or text.endswith((b"\n", b"\r")) else lines.pop()
        if lines and self._begun:
            lines[0] = b"".join((*self._begun, lines[0]))
            self._begun, self._begun_size = [], 0
        if rest:
            self._begun.append(rest)
            self._begun_size += len(rest)
        if self._size + self._begun_size > MAX_EVENT:
            raise _too_large()
        return lines

    def _take(self, line: bytes) -> None:
        """A line that is no plain data: a comment, a name, or a field that says nothing to us."""
        if line.startswith(b":"):
            return
        field, _, value = line.removeprefix(_MARK).partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            self._add(value)
        elif field == b"event":
            self._name = value.decode("utf-8", "replace")

    def _add(self, value: bytes) -> None:
        self._size += len(value)
        if self._size > MAX_EVENT:
            raise _too_large()
        self._data.append(value)


def _too_large() -> ProviderError:
    return ProviderError(Reason.TOO_LARGE, f"an event of more than {MAX_EVENT:,} bytes")
