"""Splits bytes into server-sent events, without I/O; the result does not depend on how the bytes are chunked."""

from __future__ import annotations

from moa_mcp.domain.errors import ProviderError, Reason

MAX_EVENT = 1024 * 1024
"""The most bytes of an event, and so of a line: a line without an end must not fill the memory."""

_MARK = b"\xef\xbb\xbf"


class EventSplitter:
    """Takes bytes, and returns the events that they complete, as (name, data).

    An event without data is ignored. `stray` is the first line that is no field of an event: the stream may be
    something else. Some servers name a field `error`; it is read as the data of an event of that name.
    """

    def __init__(self) -> None:
        self._partial: list[bytes] = []
        self._partial_size = 0
        self._after_return = False
        self._name = ""
        self._data: list[bytes] = []
        self._size = 0
        self.stray = b""

    def feed(self, chunk: bytes) -> list[tuple[str, str]]:
        """Take the next bytes of the stream and return the events that they complete.

        Raises:
            ProviderError: TOO_LARGE, for an event of more than `MAX_EVENT` bytes.
        """
        events: list[tuple[str, str]] = []
        for line in self._lines(chunk):
            if line.startswith(b"data:"):
                self._add(line[6:] if line.startswith(b"data: ") else line[5:])
            elif line:
                self._take_field(line)
            else:
                if self._data:
                    events.append((self._name, b"\n".join(self._data).decode("utf-8", "replace")))
                    self._data = []
                self._name, self._size = "", 0
        return events

    def close(self) -> list[tuple[str, str]]:
        """End the stream and return its last event, if the blank line after it is missing. It may be incomplete."""
        return self.feed(b"\n\n")

    def _lines(self, chunk: bytes) -> list[bytes]:
        """The lines that `chunk` completes. A carriage return ends a line at once; a newline after it is skipped."""
        if not chunk:
            return []
        text = chunk[1:] if self._after_return and chunk.startswith(b"\n") else chunk
        self._after_return = chunk.endswith(b"\r")
        lines = text.splitlines()
        rest = b"" if not text or text.endswith((b"\n", b"\r")) else lines.pop()
        if lines and self._partial:
            lines[0] = b"".join((*self._partial, lines[0]))
            self._partial, self._partial_size = [], 0
        if rest:
            self._partial.append(rest)
            self._partial_size += len(rest)
        if self._size + self._partial_size > MAX_EVENT:
            raise _too_large()
        return lines

    def _take_field(self, line: bytes) -> None:
        """Take any other line: a comment, an event name, or a field that is ignored."""
        if line.startswith(b":"):
            return
        field, _, value = line.removeprefix(_MARK).partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            self._add(value)
        elif field == b"event":
            self._name = value.decode("utf-8", "replace")
        elif field == b"error":
            self._name = "error"
            self._add(value)
        elif field not in (b"id", b"retry"):
            self.stray = self.stray or line

    def _add(self, value: bytes) -> None:
        self._size += len(value)
        if self._size > MAX_EVENT:
            raise _too_large()
        self._data.append(value)


def _too_large() -> ProviderError:
    return ProviderError(Reason.TOO_LARGE, f"an event of more than {MAX_EVENT:,} bytes")
