"""The ground that state machines stand on: their rules are plain functions, what they try out waits."""

from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

from anyio.from_thread import start_blocking_portal
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine

Result = TypeVar("Result")

IN_MEMORY = Path("/dev/shm")


def some(kind: str) -> st.SearchStrategy[str]:
    """One of those that the machine's method of that name tells."""
    return st.runner().flatmap(lambda machine: st.sampled_from(sorted(getattr(machine, kind)())))


class Machine(RuleBasedStateMachine):
    """A state machine with a folder, and with one event loop in which all its rules do their waiting.

    What is entered into `open` is left, the last first, when the machine is done.
    """

    def __init__(self) -> None:
        super().__init__()
        self.open = ExitStack()
        # In memory where that can be: what is tried is what is done in which order, not the patience of a disk.
        place = IN_MEMORY if IN_MEMORY.is_dir() else None
        self.folder = Path(self.open.enter_context(TemporaryDirectory(dir=place)))
        self.portal = self.open.enter_context(start_blocking_portal())

    def do(self, work: Callable[[], Awaitable[Result]]) -> Result:
        """Wait for `work` in the machine's event loop."""
        return self.portal.call(work)

    def teardown(self) -> None:
        self.open.close()
