"""The usage of each call of a run, summed over its tries, including tries that failed or were cancelled."""

from __future__ import annotations

from moa_mcp.domain.model import Call, Draft, Result
from moa_mcp.domain.usage import NOT_SENT, Usage


class UsageTracker:
    """Counts the usage of one run. Call ids are unique in a run."""

    def __init__(self) -> None:
        self._usages: dict[str, Usage] = {}

    def add(self, call: Call, used: Usage) -> Usage:
        """Add a try of a call, and return the usage of the call so far."""
        before = self._usages.get(call.id)
        self._usages[call.id] = total = used if before is None else before + used
        return total

    def usage_of(self, call: Call) -> Usage:
        """The usage of a call so far: no attempts if it was not sent, no numbers if no model was reached."""
        return self._usages.get(call.id, NOT_SENT)


def is_counted(result: Result) -> bool:
    """Whether the provider reported both counts, and they are plausible: a text takes at least one token."""
    used = result.usage
    if used.input_tokens is None or used.output_tokens is None:
        return False
    return used.output_tokens > 0 or not isinstance(result, Draft)
