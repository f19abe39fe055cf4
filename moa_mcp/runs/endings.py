"""The end of a run that was stopped or answered: its status and its error text."""

from __future__ import annotations

from dataclasses import dataclass, replace

from moa_mcp.domain.model import Answer, Run, RunStatus
from moa_mcp.store.base import CANCELLED, GOES_ON


@dataclass(frozen=True, slots=True)
class Stop:
    """The reason for stopping a run, and the status that the run gets."""

    status: RunStatus
    why: str


CANCEL = Stop("cancelled", CANCELLED)
DROP = Stop("interrupted", f"The call was dropped by the client before the run was done. {GOES_ON}")
SERVER_END = Stop("interrupted", f"The server stopped before the run was done. {GOES_ON}")


def stopped(run: Run, stop: Stop) -> Run:
    """Return `run` with the status and the error text of `stop`."""
    if stop.status == "interrupted":
        return run.interrupted(stop.why)
    return replace(run, status=stop.status, error=stop.why)


def completed(run: Run, answer: Answer) -> Run:
    """Return `run` as completed, with its answer."""
    return replace(
        run,
        status="completed",
        answer=answer.text,
        degraded=answer.degraded,
        notes=(*run.notes, *answer.notes),
        method=answer.method,
    )
