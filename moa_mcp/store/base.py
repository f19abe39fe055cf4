"""What a store of runs can do. Every method that reads is told the owner: nobody can reach another's runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from moa_mcp.model import CallRecord, Run
from moa_mcp.store.ledger import DayLedger


class RunStore(DayLedger, Protocol):
    """Keeps runs and the journals of their calls, and what their owners spend in a day.

    A run that is `running` belongs to the server that began it; once that server is gone it reads as
    `interrupted`, and another may claim it.
    """

    async def begin(self, run: Run) -> None:
        """Write down a run that is about to start."""
        ...

    async def add_record(self, run_id: str, record: CallRecord) -> None:
        """Add a finished call or branch to a run's journal; it is safe once this returns."""
        ...

    async def finish(self, run: Run) -> None:
        """Write down how a run ended."""
        ...

    async def claim(self, owner: str, run_id: str) -> Run | None:
        """Take over an interrupted run, with its journal; None if it is not there or not interrupted."""
        ...

    async def get(self, owner: str, run_id: str) -> Run | None:
        """The run of that id, if it is the owner's; None for an unknown and for a foreign one."""
        ...

    async def find(self, owner: str, key: str, since: float) -> Run | None:
        """The owner's newest run of that key that began at `since` (Unix seconds) or later."""
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

    async def prune(self) -> int:
        """Forget what is older or more than the store is to keep; returns how many runs went."""
        ...

    async def beat(self) -> None:
        """Tell the other servers on the same store that this one is alive."""
        ...

    async def aclose(self) -> None:
        """Let go of what the store holds open."""
        ...

    def trouble(self) -> str | None:
        """Why runs are not kept as they should be, once; None when all is well or it was told before."""
        ...
