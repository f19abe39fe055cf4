"""A wrapper with the only retry loop of the program.

It lives for one run, because retries are counted per run: when a service is down for everybody, a panel must
multiply neither the load nor the bill. No retry library is used: whether to retry and how long to wait are one
decision (backoff.py), which a library would split in two.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil, inf

import anyio

from moa_mcp.domain.errors import ProviderError, Reason
from moa_mcp.domain.model import Call, CallRecord, Result
from moa_mcp.domain.usage import NOT_SENT
from moa_mcp.providers.base import OnText, Provider
from moa_mcp.providers.notices import Retry, report
from moa_mcp.providers.wrappers.backoff import wait_before_retry

MIN_RETRIES = 3
RETRY_SHARE = 0.2


@dataclass(slots=True)
class RetryBudget:
    """The retries that a run has left, and its spare calls beyond the planned ones (inf: unlimited)."""

    left: int
    spare: float = inf

    @classmethod
    def for_plan(cls, planned_calls: int, max_calls: int | None = None) -> RetryBudget:
        """Allow a fifth of the planned calls, at least three, but no more than `max_calls` leaves beyond the plan.

        So no repeated request can use up the call that writes the answer.
        """
        spare = None if max_calls is None else max(0, max_calls - planned_calls)
        allowed = max(MIN_RETRIES, ceil(planned_calls * RETRY_SHARE))
        return cls(allowed) if spare is None else cls(min(allowed, spare), spare)

    def count_resumed(self, record: CallRecord) -> None:
        """Count the retries of a call that a resumed run made before it was interrupted."""
        retries = record.outcome.usage.retries
        self.left -= retries
        self.spare -= retries + (record.call.is_repeat and record.attempts > 0)

    def take(self) -> bool:
        """Use up a retry; False if none is left."""
        if self.left < 1 or not self.take_spare():
            return False
        self.left -= 1
        return True

    def take_spare(self) -> bool:
        """Use up a call beyond the planned ones; False if there is no room for one."""
        if self.spare < 1:
            return False
        self.spare -= 1
        return True


class Retrying:
    """Retries failed calls that may succeed. `random` returns numbers from 0 up to 1 for the jitter."""

    def __init__(self, inner: Provider, budget: RetryBudget, random: Callable[[], float]) -> None:
        self._inner = inner
        self._budget = budget
        self._random = random

    async def complete(self, call: Call, on_text: OnText) -> Result:
        """Ask until there is a draft or no further retry is allowed.

        Raises:
            ProviderError: the error of the last request; BUDGET, without a request, for a repeated call if all
                remaining calls are needed for the plan.
        """
        if call.is_repeat and not self._budget.take_spare():
            raise ProviderError(
                Reason.BUDGET, "the calls that are left are needed for the rest of the plan", usage=NOT_SENT
            )
        retries, failure = 0, None
        while True:
            try:
                return await self._inner.complete(call, on_text)
            except ProviderError as error:
                if failure and error.reason is Reason.BUDGET and not error.reached:
                    raise failure from error  # the cause of the failure, not the lack of room for a retry
                failure = error
                wait = wait_before_retry(error, retries, self._random())
                if wait is None or not _leaves_time(wait) or not self._take(error):
                    raise
            report(Retry(wait, failure.reason, failure.detail))
            await anyio.sleep(wait)
            retries += 1

    def _take(self, error: ProviderError) -> bool:
        """Use up a retry; only a spare call if the model is still being loaded, which a load may take many of."""
        return self._budget.take_spare() if error.reason is Reason.LOADING else self._budget.take()


def _leaves_time(wait: float) -> bool:
    """Whether the batch, which ends in time for the aggregator, has more than `wait` seconds left."""
    return anyio.current_time() + wait < anyio.current_effective_deadline()
