"""What goes around the providers for one run, folded in one place: retries, adaptations, the budget."""

from __future__ import annotations

from collections.abc import Callable

from moa_mcp.model import Run
from moa_mcp.prices import Rates
from moa_mcp.providers.adapting import Adapting, Refusals
from moa_mcp.providers.base import Provider
from moa_mcp.providers.budget import Budget
from moa_mcp.providers.budgeted import Budgeted
from moa_mcp.providers.retrying import Allowance, Retrying
from moa_mcp.providers.salvaging import Salvaging


class PerRun:
    """Makes the provider of each run out of the one of the process.

    `rates` knows what a model costs per token; `draw` gives numbers from 0 up to 1 for the jitter. What models
    were found to refuse is remembered over all runs.
    """

    def __init__(self, inner: Provider, rates: Callable[[str], Rates | None], draw: Callable[[], float]) -> None:
        self._inner = inner
        self._rates = rates
        self._draw = draw
        self._refusals = Refusals()

    def __call__(self, run: Run) -> Provider:
        """The provider of a run; the calls that it has made already count against its ceilings."""
        budget = Budget(run.limits)
        for record in run.calls:
            budget.book(record)
        paid = Salvaging(Budgeted(self._inner, budget, self._rates))
        allowance = Allowance.of(run.planned_calls, run.limits.max_calls)
        return Retrying(Adapting(paid, self._refusals), allowance, self._draw)
