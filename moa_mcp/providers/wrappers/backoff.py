"""Decides whether a failed call is retried, and after how long. Pure: the random number is an argument.

One rule for the whole program: at most two retries of a call; none after a part of the answer has arrived; none if a
retry cannot help. A wait is at most eight seconds, unless the provider asks for more. Only a server that is still
loading the model is asked again for as long as the run has time, because it refuses at once and answers for certain.
"""

from __future__ import annotations

from math import inf

from moa_mcp.domain.errors import ProviderError, Reason

MAX_RETRIES = 2
FIRST_SECONDS = 0.5
MAX_WAIT_SECONDS = 8.0
MAX_LOADING_WAIT_SECONDS = 15.0
"""The longest wait until a server that loads its model is asked again."""
MAX_RETRY_AFTER_SECONDS = 60.0
"""If a provider asks for a longer wait, the call is not retried; the circuit breaker pauses the model instead."""

_TRANSIENT = {Reason.RATE_LIMITED, Reason.OVERLOADED, Reason.UNAVAILABLE}
_RETRIED_ONCE = {Reason.CONNECTION, Reason.MALFORMED, Reason.EMPTY, Reason.CUT}
_NEVER_RETRIED = {Reason.BILLING, Reason.AUTH, Reason.MISSING_KEY, Reason.COOLING, Reason.BUDGET}


def wait_before_retry(error: ProviderError, retries: int, random: float) -> float | None:
    """Seconds to wait before the next try, after `retries` retries; None if there must be no retry.

    `random` is a number from 0 up to 1. The wait is a full-jitter back-off (0.5 s, doubled up to 8 s). If the provider
    asks for a wait, it is that wait plus up to a tenth, so that callers rejected together do not return together.
    """
    if error.sent_text or retries >= _max_retries(error):
        return None
    requested = error.retry_after
    if error.reason is Reason.LOADING:
        growing = FIRST_SECONDS * 2.0 ** min(retries + 1, 10)
        return min(MAX_LOADING_WAIT_SECONDS, growing if requested is None else max(FIRST_SECONDS, requested))
    if requested is None:
        return random * min(MAX_WAIT_SECONDS, FIRST_SECONDS * 2.0 ** (retries + 1))
    return requested * (1 + 0.1 * random) if requested <= MAX_RETRY_AFTER_SECONDS else None


def _max_retries(error: ProviderError) -> float:
    if error.reason in _NEVER_RETRIED or error.should_retry is False:
        return 0
    if error.reason is Reason.LOADING:
        return inf
    if error.should_retry or error.reason in _TRANSIENT:
        return MAX_RETRIES
    return 1 if error.reason in _RETRIED_ONCE else 0
