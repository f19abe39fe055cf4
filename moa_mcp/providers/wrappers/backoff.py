"""Whether a failed call is asked again, and after how long. Pure: the dice are an argument.

One rule for the whole program: at most two retries of a call, none once any of the answer has arrived, none
where a retry cannot help, and never a wait that the provider did not ask for beyond eight seconds.
"""

from __future__ import annotations

from moa_mcp.domain.errors import ProviderError, Reason

MAX_RETRIES = 2
FIRST_SECONDS = 0.5
MAX_WAIT_SECONDS = 8.0
MAX_RETRY_AFTER_SECONDS = 60.0
"""A provider that asks for a longer wait is left alone for that long instead."""

_TRANSIENT = {Reason.RATE_LIMITED, Reason.OVERLOADED, Reason.UNAVAILABLE}
_RETRIED_ONCE = {Reason.CONNECTION, Reason.MALFORMED, Reason.EMPTY, Reason.CUT}
_NEVER_RETRIED = {Reason.BILLING, Reason.AUTH, Reason.MISSING_KEY, Reason.COOLING, Reason.BUDGET}


def wait_before_retry(error: ProviderError, retries: int, random: float) -> float | None:
    """Seconds to wait before the next try, after `retries` of them; None: there is to be none.

    `random` is a number from 0 up to 1. The wait is a full-jitter back-off (0.5 s doubled to 8 s), or what the
    provider asks for and a tenth more at most, so that callers it sent away together come back apart.
    """
    if error.sent_text or retries >= _max_retries(error):
        return None
    requested = error.retry_after
    if requested is None:
        return random * min(MAX_WAIT_SECONDS, FIRST_SECONDS * 2.0 ** (retries + 1))
    return requested * (1 + 0.1 * random) if requested <= MAX_RETRY_AFTER_SECONDS else None


def _max_retries(error: ProviderError) -> int:
    if error.reason in _NEVER_RETRIED or error.should_retry is False:
        return 0
    if error.should_retry or error.reason in _TRANSIENT:
        return MAX_RETRIES
    return 1 if error.reason in _RETRIED_ONCE else 0
