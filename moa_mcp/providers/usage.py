"""The usage of each call of a run, summed over its tries, including tries that failed or were cancelled."""

from __future__ import annotations

from dataclasses import replace

from moa_mcp.domain.model import Call, Usage

NOT_SENT = Usage(attempts=0)


class UsageTracker:
    """Counts the usage of one run. Call ids are unique in a run."""

    def __init__(self) -> None:
        self._usages: dict[str, Usage] = {}

    def add(self, call: Call, used: Usage) -> Usage:
        """Add a try of a call, and return the usage of the call so far."""
        before = self._usages.get(call.id)
        self._usages[call.id] = total = used if before is None else _sum(before, used)
        return total

    def usage_of(self, call: Call) -> Usage:
        """The usage of a call so far: no attempts if it was not sent, no numbers if no model was reached."""
        return self._usages.get(call.id) or NOT_SENT


def _sum(one: Usage, other: Usage) -> Usage:
    """Add two usages. A try that reached no model adds only attempts; one unknown price makes the sum unknown."""
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
