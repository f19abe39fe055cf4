"""A run as MCP clients get it: a client may show Markdown and fetch or open what it links to. Pure functions."""

from __future__ import annotations

from dataclasses import replace

from moa_mcp.domain.links import neutralize_links
from moa_mcp.domain.model import PROPOSER, CallRecord, Draft, Run


def inert(run: Run, *, drafts: bool = True) -> Run:
    """Return `run` with inert links in its answer and, unless `drafts` is false, in its drafts.

    Links to hosts in the text of the caller stay. Other readers, such as the store, JSON files and Python programs, get
    the texts as the models sent them; a terminal gets them without control sequences.
    """
    known = _caller_text(run)
    answer = None if run.answer is None else neutralize_links(run.answer, known)
    if not drafts:
        return replace(run, answer=answer)

    def show(record: CallRecord) -> CallRecord:
        if record.call.role != PROPOSER or not isinstance(record.outcome, Draft):
            return record
        return replace(record, outcome=replace(record.outcome, text=neutralize_links(record.outcome.text, known)))

    return replace(run, answer=answer, calls=tuple(map(show, run.calls)), panels=tuple(map(show, run.panels)))


def _caller_text(run: Run) -> str:
    task = run.task
    turns = (turn.text for turn in task.history if turn.speaker == "user")
    return "\n".join((task.question, task.context or "", task.system or "", *turns))
