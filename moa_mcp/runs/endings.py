"""How a run ends that is stopped or answered: with which status, and what is said of it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from moa_mcp.domain.model import Answer, Run, RunStatus
from moa_mcp.store.base import CANCELLED, GOES_ON


@dataclass(frozen=True, slots=True)
class Stop:
    """Why a run is stopped, and the status that it has then."""

    status: RunStatus
    why: str


CANCEL = Stop("cancelled", CANCELLED)
DROP = Stop("interrupted", f"The call was dropped by the client before the run was done. {GOES_ON}")
SERVER_END = Stop("interrupted", f"The server stopped before the run was done. {GOES_ON}")


def stopped(run: Run, stop: Stop) -> Run:
    """A run as it was when it was stopped."""
    if stop.status == "interrupted":
        return run.interrupted(stop.why)
    return replace(run, status=stop.status, error=stop.why)


def completed(run: Run, answer: Answer) -> Run:
    """A run with its answer."""
    return replace(
        run,
        status="completed",
        answer=answer.text,
        degraded=answer.degraded,
        notes=(*run.notes, *answer.notes),
        method=answer.method,
    )
