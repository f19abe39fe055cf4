"""Checks a plan against the limits of the configuration, of its preset and of its request."""

from __future__ import annotations

from collections.abc import Sequence

from moa_mcp.config.settings import LimitSettings
from moa_mcp.domain.errors import PlanRefused
from moa_mcp.domain.preset import Limits, Preset
from moa_mcp.domain.spend import Spend
from moa_mcp.flows.planning.dry_run import DryRun

_LIMIT_OWNERS = ("in the configuration file", "of the preset", "of the request")
"""The origin of each limit, for the error text, in the order of the `ceilings` argument."""


def check_plan(
    preset: Preset, dry_run: DryRun, cost_usd: float | None, unpriced: Sequence[str], ceilings: Sequence[Limits]
) -> None:
    """Raise PlanRefused, with the numbers, if a plan exceeds one of its limits.

    `unpriced` are the models of the plan without a known price.
    """
    read, written = dry_run.input_tokens, dry_run.output_tokens
    for limits, origin in zip(ceilings, _LIMIT_OWNERS, strict=True):
        if limits.max_calls is not None and dry_run.calls > limits.max_calls:
            raise _plan_refused(preset, f"{dry_run.calls} calls", f"{limits.max_calls}", f"max_calls {origin}")
        if limits.max_tokens is not None and read + written > limits.max_tokens:
            needs = f"about {read:,} tokens in and {written:,} out over {dry_run.calls} calls"
            raise _plan_refused(preset, needs, f"{limits.max_tokens:,}", f"max_tokens {origin}")
        if limits.max_cost_usd is not None and cost_usd is not None and cost_usd > limits.max_cost_usd:
            needs = f"about ${cost_usd:.4f} ({dry_run.calls} calls, {read:,} tokens in and {written:,} out)"
            raise _plan_refused(preset, needs, f"${limits.max_cost_usd:g}", f"max_cost_usd {origin}")
        if unpriced and limits.on_unknown_price == "refuse":
            raise PlanRefused(
                f"No price is known for {', '.join(unpriced)}, and on_unknown_price {origin} refuses such models. "
                "Write their prices into the configuration file (prices of the provider), or choose another preset."
            )


def daily_limit(limits: LimitSettings) -> Spend:
    """The most that all runs of a day may use together."""
    return Spend(limits.max_calls_per_day, limits.max_tokens_per_day, limits.max_cost_usd_per_day)


def unknown_price_note(unpriced: Sequence[str], limits: Limits) -> str:
    """The note on a run whose limit in dollars does not hold for some of its models."""
    return (
        f"No price is known for {', '.join(unpriced)}: max_cost_usd (${limits.max_cost_usd:g}) does not limit their "
        "calls, except by what their provider reports after each. Calls and tokens are limited all the same."
    )


def _plan_refused(preset: Preset, needs: str, at_most: str, limit: str) -> PlanRefused:
    return PlanRefused(
        f"Preset {preset.name} needs {needs}, and {at_most} is the limit. Choose a smaller preset, or raise {limit}."
    )
