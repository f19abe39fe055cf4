"""The end of a run that was stopped or answered: its status and its error text."""

from __future__ import annotations

from dataclasses import dataclass, replace

from moa_mcp.domain.errors import Reason
from moa_mcp.domain.model import Answer, CallRecord, Failure, Run, RunStatus
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
        return _interrupted(run, stop.why)
    return replace(run, status=stop.status, error=stop.why)


def completed(run: Run, answer: Answer) -> Run:
    """Return `run` as completed, with its answer."""
    return replace(
        run,
        status="completed",
        answer=answer.text,
        degraded=answer.degraded,
        shortfalls=answer.shortfalls,
        lost=answer.lost,
        notes=(*run.notes, *answer.notes),
        method=answer.method,
    )


def _interrupted(run: Run, why: str) -> Run:
    """Return `run` as interrupted, so that it can be resumed. Cut-off calls move to `abandoned`."""
    # A cut-off call must leave `calls`: a resumed run replays these and would not send the call again. It stays
    # in `abandoned`, so that its cost still counts.
    cut_off = (replace(record, call=replace(record.call, messages=())) for record in run.calls)
    return replace(
        run,
        status="interrupted",
        error=why,
        calls=tuple(record for record in run.calls if not was_cut_off(record)),
        panels=tuple(record for record in run.panels if not was_cut_off(record)),
        abandoned=(*run.abandoned, *filter(was_cut_off, cut_off)),
    )


def was_cut_off(record: CallRecord) -> bool:
    """Whether the call was cancelled with its run: the journal does not have it."""
    return isinstance(record.outcome, Failure) and record.outcome.reason is Reason.CANCELLED
