"""Shows what `moa-mcp doctor --probe` found: each model as it answers, and a verdict."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from moa_mcp.cli.view.table import wrapped
from moa_mcp.domain.endpoints import Endpoint, split_model
from moa_mcp.domain.model import CallRecord, Draft, Embeddings, Failure
from moa_mcp.domain.text import strip_invisible
from moa_mcp.service.probe import Probe, ProbePlan
from moa_mcp.views.run import format_total_cost, pluralize

_INDENT = " " * 8


def price_line(plan: ProbePlan) -> str:
    """What a probe will ask, and what that costs at most."""
    prices = [f"at most ${plan.at_most_usd:.4f}"] if plan.at_most_usd else []
    if plan.unpriced:
        prices.append(f"no price is known for {', '.join(plan.unpriced)}")
    asks = f"Asking {pluralize(len(plan.calls), 'model')} to count to ten"
    return "\n".join(wrapped(f"{asks}: {'; '.join(prices) or 'free'}."))


def probe_text(probe: Probe, endpoints: Mapping[str, Endpoint]) -> str:
    """What became of the call to one model, in a few lines."""
    record = probe.record
    endpoint = endpoints[split_model(record.call.model)[0]]
    price = f" · {_price(record)}" if record.is_billed else ""
    head = f"{'works' if probe.works else 'failed':<8}{record.call.model} · {record.seconds:.1f} s{price}"
    return _block(head, ", ".join(_facts(probe, endpoint)) if probe.works else str(record.error))


def unasked_text(model: str, reason: str) -> str:
    """Why a model was not asked."""
    return _block(f"unasked {model}", reason)


def _block(head: str, text: str) -> str:
    return "\n".join((strip_invisible(head), *wrapped(text, _INDENT)))


def _facts(probe: Probe, endpoint: Endpoint) -> Iterator[str]:
    outcome = probe.record.outcome
    yield "key accepted" if endpoint.api_key_env else "no key sent"
    yield "model known"
    if isinstance(outcome, Embeddings):
        yield f"vectors of {len(outcome.vectors[0]):,} numbers"
    elif isinstance(outcome, Failure):
        yield "answer not seen: it thought until the limit of the probe"
    else:
        yield "streamed" if probe.is_streamed else "not streamed"
    yield _usage(probe.record)
    if retries := outcome.usage.retries:
        yield f"asked {retries + 1} times"
    yield f"window {probe.listed.window:,}" if probe.listed and probe.listed.window else "window unknown"
    served = outcome.served_model
    yield f"answered by {served}" if served else "served model not named"
    if isinstance(outcome, Draft):
        yield from outcome.notes


def _usage(record: CallRecord) -> str:
    used = record.outcome.usage
    if used.estimated:
        return "usage not reported"
    thoughts = f", {used.reasoning_tokens:,} of them thoughts" if used.reasoning_tokens else ""
    return f"usage reported ({used.input_tokens or 0:,} tokens in, {used.output_tokens or 0:,} out{thoughts})"


def _price(record: CallRecord) -> str:
    cost = record.outcome.usage.cost_usd
    if cost is None:
        return "price unknown"
    return "free" if cost == 0 else f"${cost:.4f}" if cost >= 0.0001 else "under $0.0001"


def verdict(plan: ProbePlan, probes: Sequence[Probe]) -> str:
    """Whether the preset works, what does not, and what the probe cost."""
    failed = {*plan.refused, *(probe.record.call.model for probe in probes if not probe.works)}
    name = plan.preset.name
    if lost := sorted(failed & plan.needed):
        said = f"{name} does not work as it should: it needs {', '.join(lost)}."
    elif failed:
        said = f"{name} works, but its fallbacks {', '.join(sorted(failed))} do not."
    else:
        said = f"{name} works."
    billed = [probe.record for probe in probes if probe.record.is_billed]
    costs = [record.outcome.usage.cost_usd for record in billed]
    spent = format_total_cost(sum(cost or 0.0 for cost in costs), costs.count(None))
    booked = [f"Booked for today: {spent}."] if billed else []
    return "\n".join(wrapped(" ".join((said, *booked))))
