"""Runs that may come to whatever they like, for tests that are not about their owner's day."""

from moa_mcp.domain.model import Run
from moa_mcp.domain.spend import Spend
from moa_mcp.runs.live_run import LiveRun
from moa_mcp.runs.scheduler import RunScheduler
from moa_mcp.store.base import AdmittedRun, RunStore
from moa_mcp.store.daily_budget import ReservationRequest

FOR_EVER = 1e12
"""A time (Unix seconds) that nothing here outlasts."""

MOST = Spend(10**6, 10**9, 10.0**6)
"""More than anything here needs."""


def whatever(owner: str, run_id: str) -> ReservationRequest:
    """As much of the day as there is."""
    return ReservationRequest(owner, run_id, Spend(), MOST, None, FOR_EVER)


async def begin(store: RunStore, run: Run) -> AdmittedRun:
    """Admit a run that nothing stands for yet."""
    admitted = await store.admit(run, whatever(run.owner, run.run_id))
    assert isinstance(admitted, AdmittedRun)
    return admitted


async def claim(store: RunStore, owner: str, run_id: str) -> Run | None:
    """Claim a run, and return it as it is then."""
    claimed = await store.claim(owner, run_id, whatever(owner, run_id))
    return claimed.run if claimed else None


async def started(scheduler: RunScheduler, run: Run) -> LiveRun:
    """Start a run that nothing stands for yet."""
    live = await scheduler.start(run, whatever(run.owner, run.run_id))
    assert isinstance(live, LiveRun)
    return live
