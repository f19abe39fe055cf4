"""The aggregator reads the judges' review beside the drafts; critique, council and analysis use this."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from moa_mcp.domain.model import Task
from moa_mcp.domain.preset import Preset
from moa_mcp.flows import schedule
from moa_mcp.flows.candidates import LabelledCandidates
from moa_mcp.flows.conclude.synthesize import synthesize_after
from moa_mcp.flows.state import Conclusion, State


@dataclass(frozen=True, slots=True)
class Review:
    """The judges' review of the candidates `shown`; `remarks` is None if there is nothing usable.

    `method` holds the facts of the review, `notes` are for the reader of the answer.
    """

    shown: LabelledCandidates
    remarks: str | None
    method: Mapping[str, Any]
    notes: tuple[str, ...] = ()


def answer_with_review(task: Task, preset: Preset, state: State, review: Review) -> Conclusion:
    """Let the aggregator write the answer from the drafts, in the judges' order, and the review.

    Without remarks, the aggregator uses only the drafts, and the answer is marked as degraded.
    """
    extra = "\n\n".join(part for part in (state.extra, review.remarks) if part)
    references = tuple(state.references[index] for index in review.shown.order)
    if review.remarks is not None:
        state = replace(state, references=references, extra=extra)
    answer = yield from synthesize_after(task, preset, state, schedule.WRITING_AFTER_JUDGES)
    return replace(
        answer,
        degraded=answer.degraded or review.remarks is None,
        notes=(*review.notes, *answer.notes),
        method={**answer.method, **review.method},
    )
