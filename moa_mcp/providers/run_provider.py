"""The wrappers that live for one run, put together in one place: retries, adaptations, the budget."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from moa_mcp.domain.model import Call, CodeCall, Run
from moa_mcp.providers.base import Day, Provider
from moa_mcp.providers.budget import Budget, Outlay, Reservation
from moa_mcp.providers.prices import Rates
from moa_mcp.providers.usage import UsageTracker
from moa_mcp.providers.wrappers.adapting import AdaptToModel, ModelForms
from moa_mcp.providers.wrappers.budgeted import BudgetLimit
from moa_mcp.providers.wrappers.keep_partial import KeepPartial
from moa_mcp.providers.wrappers.marker_removal import MarkerRemoval
from moa_mcp.providers.wrappers.retrying import RetryBudget, Retrying


class RunProviderFactory:
    """Makes the provider of each run from the provider of the process.

    `rates` returns the rates of a model; `random` returns numbers from 0 up to 1 for the jitter. The forms of
    requests that models want are remembered across runs, in `forms`.
    """

    def __init__(
        self,
        inner: Provider,
        rates: Callable[[str], Rates | None],
        random: Callable[[], float],
        forms: ModelForms | None = None,
    ) -> None:
        self._inner = inner
        self._rates = rates
        self._random = random
        self._forms = forms or ModelForms()

    def __call__(self, run: Run) -> RunProvider:
        """Make the provider of a run. The calls that a resumed run already made count against its ceilings."""
        outlay = Outlay(run.calls_left)
        budget, account = Budget(run.limits, outlay), UsageTracker()
        allowance = RetryBudget.for_plan(run.planned_calls, run.limits.max_calls)
        for record in run.sent:
            budget.count_resumed(record)
            allowance.count_resumed(record)
        # The budget is innermost, because each request is paid for separately. KeepPartial is inside the retry loop,
        # so a long enough partial answer becomes a draft and is not asked for again.
        paid = BudgetLimit(self._inner, budget, account, self._rates)
        # A partial answer has to be filtered before it is kept.
        whole = KeepPartial(MarkerRemoval(paid, run.task.nonce))
        adapting = AdaptToModel(whole, self._forms, run.task.nonce, allowance)
        return RunProvider(Retrying(adapting, allowance, self._random), account, budget, outlay, paid.wanted)


class RunProvider:
    """The provider of one run. It books calls before they are sent, and knows the usage even of cancelled calls."""

    def __init__(
        self,
        first: Provider,
        account: UsageTracker,
        budget: Budget,
        outlay: Outlay,
        wanted: Callable[[Call], Reservation],
    ) -> None:
        self.complete = first.complete
        self.usage_of = account.usage_of
        self._budget = budget
        self._outlay = outlay
        self._estimate = wanted

    def book_in(self, day: Day) -> Outlay:
        """From now on, book each call in `day` before it is sent. Returns the amounts to book."""
        self._budget.draw_on(day)
        return self._outlay

    def announce(self, calls: Iterable[Call]) -> None:
        """Add the next calls to the amounts to book, except repeated calls (may be refused) and code calls (free)."""
        self._outlay.announce(
            self._estimate(call) for call in calls if not isinstance(call, CodeCall) and not call.is_repeat
        )
