"""What an answer lacks, in words. A reader gets it before the answer. Pure functions."""

from __future__ import annotations

from moa_mcp.domain.model import Run
from moa_mcp.domain.shortfalls import PanelSummary, Shortfall

MAX_NAMED = 6
"""How many lost drafts are named."""


def notice(run: Run) -> str | None:
    """Return what the answer lacks, one line each for partial and degraded; None if nothing, or without an answer."""
    if run.answer is None:
        return None
    lines = [*([partial_line(run.panel)] if run.partial else []), *([_degraded_line(run)] if run.degraded else [])]
    return "\n".join(lines) or None


def with_notice(run: Run, text: str) -> str:
    """Return `text`, which shows the answer, below what the answer lacks."""
    return "\n\n".join(part for part in (notice(run), text) if part)


def partial_line(panel: PanelSummary) -> str:
    """Say which drafts are missing."""
    count = len(panel.lost)
    named = "; ".join(map(str, panel.lost[:MAX_NAMED]))
    more = f"; and {count - MAX_NAMED} more" if count > MAX_NAMED else ""
    what = "1 draft is missing" if count == 1 else f"{count} drafts are missing"
    skew = " What is missing is the slower or the more expensive part of the panel." if panel.skewed else ""
    return f"Partial: {what}, {panel.answered} of {panel.asked} slots answered. Missing: {named}{more}.{skew}"


def _degraded_line(run: Run) -> str:
    found = [shortfall.description for shortfall in Shortfall if shortfall in run.shortfalls]
    return f"Degraded: {'; '.join(found) or 'it is less than was asked for, and the notes say why'}."
