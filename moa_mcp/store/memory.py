"""Runs in memory: gone with the process, and bounded, the oldest going first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from moa_mcp.model import CallRecord, Run


class MemoryStore:
    """Keeps the newest `most` runs of all owners together."""

    def __init__(self, most: int = 200) -> None:
        self._most = most
        self._runs: dict[str, Run] = {}

    async def begin(self, run: Run) -> None:
        self._runs[run.run_id] = run
        for oldest in list(self._runs)[: -self._most]:
            del self._runs[oldest]

    async def add_call(self, run_id: str, record: CallRecord) -> None:
        if run := self._runs.get(run_id):
            self._runs[run_id] = run.with_call(record)

    async def finish(self, run: Run) -> None:
        if run.run_id in self._runs:
            self._runs[run.run_id] = replace(run)

    async def get(self, owner: str, run_id: str) -> Run | None:
        run = self._runs.get(run_id)
        return run if run and run.owner == owner else None

    async def latest(self, owner: str) -> Run | None:
        return next(iter(await self.list(owner, limit=1)), None)

    async def list(self, owner: str, limit: int = 50) -> Sequence[Run]:
        own = [run for run in self._runs.values() if run.owner == owner]
        return own[::-1][:limit]

    async def remove(self, owner: str, run_id: str) -> bool:
        if await self.get(owner, run_id) is None:
            return False
        del self._runs[run_id]
        return True
