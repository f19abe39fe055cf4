"""A clock for tests of time limits: it stands while anything happens, and jumps to the next limit when nothing does.

Such a test asks what comes of a limit, not how fast this machine is. On the machine's clock it has to choose
limits that are short enough to wait for and long enough for a busy machine, and there are none: a loaded one
falls silent for longer than any test cares to wait. Here a slow machine makes a test slow and nothing else, the
limits are those that users have, minutes are over at once, and what took how long is known to the second.

Sockets are real. A limit passes only once no socket of the loop has had anything to read, or has made room for
more, for a while of real time; whoever was kept from running meanwhile finds what has come before that is
judged. Work in threads is not seen, so a test that waits for a thread keeps to the machine's clock.

It is the one file that names asyncio: the loop keeps the time, and anyio lends no way to set it.
"""

from __future__ import annotations

import asyncio  # noqa: TID251  # whose loop keeps the time; see above
import selectors

import pytest

STILL_SECONDS = 0.002
STILL_TIMES = 5
"""So often in a row nothing may happen for so long before the clock jumps. What was sent on this machine is there
after microseconds, and each look sees all that has come by then."""

BEGINNING = 1000.0
"""What the clock shows at first: not zero, which could be taken for no time at all."""


class _Standing(selectors.DefaultSelector):
    """Looks for what happens; `passed` are the seconds that were not waited for because nothing did."""

    def __init__(self) -> None:
        super().__init__()
        self.passed = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if not timeout:
            return super().select(timeout)
        for _ in range(STILL_TIMES):
            if happened := super().select(STILL_SECONDS):
                return happened
        self.passed += timeout
        return []


class _Loop(asyncio.SelectorEventLoop):
    """An event loop whose time is that of its selector."""

    def __init__(self) -> None:
        self._standing = _Standing()
        super().__init__(self._standing)

    def time(self) -> float:
        return BEGINNING + self._standing.passed


jumping = pytest.mark.parametrize("anyio_backend", [("asyncio", {"loop_factory": _Loop})], ids=["jumping"])
"""Marks the tests that run by this clock."""
