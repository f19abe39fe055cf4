"""What goes around the providers for one run, folded in one place: retries, adaptations, the budget."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from moa_mcp.domain.model import Call, CodeCall, Run
from moa_mcp.providers.base import Day, Provider
from moa_mcp.providers.budget import Budget, Drawn, Reservation
from moa_mcp.providers.prices import Rates
from moa_mcp.providers.usage import UsageTracker
from moa_mcp.providers.wrappers.budgeted import BudgetLimit
from moa_mcp.providers.wrappers.keep_partial import KeepPartial
from moa_mcp.providers.wrappers.retrying import RetryBudget, Retrying
from moa_mcp.providers.wrappers.unsupported_settings import DropUnsupportedSettings, UnsupportedSettings


class RunProviderFactory:
    """Makes the provider of each run out of the one of the process.

    `rates` knows what a model costs per token; `random` gives numbers from 0 up to 1 for the jitter. What models
    were found to refuse is remembered over all runs.
    """

    def __init__(self, inner: Provider, rates: Callable[[str], Rates | None], random: Callable[[], float]) -> None:
        self._inner = inner
        self._rates = rates
        self._random = random
        self._unsupported = UnsupportedSettings()

    def __call__(self, run: Run) -> RunProvider:
        """The provider of a run; the calls that it has made already count against its ceilings."""
        drawn = Drawn(run.calls_left)
        budget, account = Budget(run.limits, drawn), UsageTracker()
        allowance = RetryBudget.for_plan(run.planned_calls, run.limits.max_calls)
        for record in run.sent:
            budget.count_resumed(record)
            allowance.count_resumed(record)
        paid = BudgetLimit(self._inner, budget, account, self._rates)
        adapting = DropUnsupportedSettings(KeepPartial(paid), self._unsupported, run.task.nonce, allowance)
        return RunProvider(Retrying(adapting, allowance, self._random), account, budget, drawn, paid.wanted)


class RunProvider:
    """The provider of one run, which also knows what each call came to, be it cut off, and books it before."""

    def __init__(
        self,
        first: Provider,
        account: UsageTracker,
        budget: Budget,
        drawn: Drawn,
        wanted: Callable[[Call], Reservation],
    ) -> None:
        self.complete = first.complete
        self.usage_of = account.usage_of
        self._budget = budget
        self._drawn = drawn
        self._wanted = wanted

    def book_in(self, day: Day) -> Drawn:
        """Book there what is sent, from now on, before it is sent. Returns what is to be booked."""
        self._budget.draw_on(day)
        return self._drawn

    def announce(self, calls: Iterable[Call]) -> None:
        """Take calls that come next into what is to be booked; second tries may yet be refused, and code is free."""
        self._drawn.announce(
            self._wanted(call) for call in calls if not isinstance(call, CodeCall) and not call.is_repeat
        )
