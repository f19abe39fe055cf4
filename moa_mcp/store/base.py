"""What a store of runs can do. Every method is told the owner: nobody can reach another's runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from moa_mcp.model import CallRecord, Run


class RunStore(Protocol):
    """Keeps runs and the journal of their calls."""

    async def begin(self, run: Run) -> None:
        """Write down a run that is about to start."""
        ...

    async def add_call(self, run_id: str, record: CallRecord) -> None:
        """Add a finished call to a run's journal; it is safe once this returns."""
        ...

    async def finish(self, run: Run) -> None:
        """Write down how a run ended."""
        ...

    async def get(self, owner: str, run_id: str) -> Run | None:
        """The run of that id, if it is the owner's; None for an unknown and for a foreign one."""
        ...

    async def latest(self, owner: str) -> Run | None:
        """The owner's newest run."""
        ...

    async def list(self, owner: str, limit: int = 50) -> Sequence[Run]:
        """The owner's runs, newest first."""
        ...

    async def remove(self, owner: str, run_id: str) -> bool:
        """Forget a run; False if the owner has none of that id."""
        ...
