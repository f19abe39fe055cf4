"""A pseudo-terminal for a program under test, and what the program wrote to it."""

from __future__ import annotations

import os
import pty
import re
import struct
import termios
from fcntl import ioctl

import anyio

LINES, COLUMNS = 40, 120

_ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def plain(written: str) -> str:
    """What was written without colours and cursor movements, and with single spaces."""
    lines = _ESCAPE.sub("", written).replace("\r", "\n").splitlines()
    return "\n".join(" ".join(line.split()) for line in lines)


class Terminal:
    """One pseudo-terminal; `side` is the program's end of it."""

    def __init__(self) -> None:
        self._screen, self.side = pty.openpty()
        ioctl(self.side, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
        self._written = b""

    @property
    def written(self) -> str:
        """All that was written so far, with the newlines that the program wrote."""
        return self._written.decode("utf-8", "replace").replace("\r\n", "\n")

    async def until(self, wanted: str) -> None:
        """Wait until the program has written `wanted`."""
        while wanted not in self.written:
            await self._read()

    async def rest(self) -> str:
        """Wait until the program's end is closed, and return all that was written."""
        try:
            while True:
                await self._read()
        except OSError:  # EIO: how a terminal says that its other end is closed
            os.close(self._screen)
        return self.written

    def leave(self) -> None:
        """Close this process's copy of the program's end; the program has its own by now."""
        os.close(self.side)

    async def _read(self) -> None:
        await anyio.wait_readable(self._screen)
        self._written += os.read(self._screen, 65536)
