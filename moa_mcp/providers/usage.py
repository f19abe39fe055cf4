"""What each call of a run came to, all its tries together: those too that failed, or were cut off midway."""

from __future__ import annotations

from dataclasses import replace

from moa_mcp.domain.model import Call, Usage

NOT_SENT = Usage(attempts=0)


class UsageTracker:
    """Lives for one run, in which no two calls have the same id."""

    def __init__(self) -> None:
        self._usages: dict[str, Usage] = {}

    def add(self, call: Call, used: Usage) -> Usage:
        """Count a try of a call, and return what the call came to by now."""
        before = self._usages.get(call.id)
        self._usages[call.id] = total = used if before is None else _sum(before, used)
        return total

    def usage_of(self, call: Call) -> Usage:
        """What a call came to by now: without attempts if it was not sent, without numbers if no model was reached."""
        return self._usages.get(call.id) or NOT_SENT


def _sum(one: Usage, other: Usage) -> Usage:
    """Both usages as one. A try that reached no model adds nothing; a price that is not known makes none known."""
    attempts = one.attempts + other.attempts
    paid = [used for used in (one, other) if replace(used, attempts=0) != NOT_SENT]
    if len(paid) < 2:
        return replace(paid[0] if paid else NOT_SENT, attempts=attempts)
    known = one.cost_usd is not None and other.cost_usd is not None
    return Usage(
        (one.input_tokens or 0) + (other.input_tokens or 0),
        (one.output_tokens or 0) + (other.output_tokens or 0),
        (one.cost_usd or 0.0) + (other.cost_usd or 0.0) if known else None,
        estimated=one.estimated or other.estimated,
        attempts=attempts,
    )
