"""Ask real models, and print what differs from what moa-mcp expects of their providers.

    scripts/live [--yes] [-m PROVIDER/MODEL]…

For each built-in provider whose key is set: a panel of two drafts and an aggregator, a stream that is cancelled, a
wrong model id and a wrong key. The configuration of the caller holds. The panels are runs like any other, kept and
booked; the calls beside them are not booked.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Sequence

import anyio
import click

from moa_mcp.api import open_service
from moa_mcp.domain.endpoints import split_model
from moa_mcp.domain.errors import InvalidRequest, MoAError, ProviderError, Reason
from moa_mcp.domain.model import CallRecord, ChatCall, Draft, Message
from moa_mcp.domain.preset import Aggregator, Preset, Proposer
from moa_mcp.domain.usage import Usage
from moa_mcp.providers.base import ignore_text
from moa_mcp.providers.notices import Notice, ReplyBegun, notices_to
from moa_mcp.providers.registry import Registry
from moa_mcp.service.service import AskRequest, Service

MODELS = (
    "openai/gpt-4.1-nano",
    "anthropic/claude-haiku-4-5",
    "openrouter/meta-llama/llama-3.1-8b-instruct",
    "together/meta-llama/Meta-Llama-3.1-8B-Instruct-Turbo",
    "groq/llama-3.1-8b-instant",
    "deepseek/deepseek-v4-flash",
    "mistral/ministral-8b-latest",
    "google/gemini-2.5-flash-lite",
    "xai/grok-4-1-fast-non-reasoning",
    "fireworks/accounts/fireworks/models/gpt-oss-20b",
    "nous/Hermes-4-70B",
)
"""A cheap model of each built-in provider that needs a key."""

QUESTION = "What is 6 times 7? Answer in one short sentence."
LONG_QUESTION = "Write the numbers from 1 to 300 in words, one on each line."
MAX_TOKENS = 300
CALLS = 4
"""The calls that are paid for: the panel's three, and the one that is cancelled."""

PRICE_TOLERANCE = 0.2
"""By how much a reported price may differ from the price table."""

WRONG_KEY = "sk-" + "0" * 45

SECONDS = 60.0
CANCEL_SECONDS = 2.0
"""A cancelled call has to end within this time."""

Difference = tuple[str, str]
"""What was looked at, and what was found in the place of what is expected."""


@click.command()
@click.option("--yes", is_flag=True, help="Send the calls. Without it they are only listed, with their price.")
@click.option("-m", "--model", "models", multiple=True, metavar="PROVIDER/MODEL", help="Ask this one instead.")
def live(yes: bool, models: Sequence[str]) -> int:
    """Ask one cheap panel for each key that is set, and print what differs from what is expected.

    Exit code 0: all was as expected, 1: something differs.
    """
    return anyio.run(_live, yes, models)


async def _live(yes: bool, models: Sequence[str]) -> int:
    async with open_service() as service:
        registry = service.registry
        registry.check_usable(models)
        chosen = models or [model for model in MODELS if registry.is_usable(model)]
        if not chosen:
            variables = ", ".join(key for model in MODELS if (key := registry.missing_key(model)))
            raise InvalidRequest(f"No key is set, so there is nothing to ask. Set one of {variables}.")
        click.echo(f"{CALLS} calls to each, and two that have to be refused:")
        for model in chosen:
            click.echo(f"  {model}: {_at_most(service, model)}")
        if not yes:
            click.echo("Nothing was sent. Add --yes to ask them.")
            return 0
        differ = [await _report(service, model) for model in chosen]
    return int(any(differ))


def _at_most(service: Service, model: str) -> str:
    rates = service.registry.rates(model)
    return f"at most ${rates.cost(Usage(CALLS * 1000, CALLS * MAX_TOKENS)):.4f}" if rates else "its price is unknown"


async def _report(service: Service, model: str) -> bool:
    """Try one model, print what differs, and return whether anything does."""
    began = time.monotonic()
    found = await differences(service, model)
    summary = f"{len(found)} differ from what is expected" if found else "as expected"
    click.echo(f"{model} · {time.monotonic() - began:.1f} s · {summary}")
    for what, difference in found:
        click.echo(f"  {what}: {difference}")
    return bool(found)


async def differences(service: Service, model: str) -> list[Difference]:
    """What differs at the provider of a model from what is expected."""
    endpoint, registry = service.settings().endpoints[split_model(model)[0]], service.registry
    found = [
        *await _unlisted(registry, model),
        *await _panel(service, model),
        *await _stream_and_cancel(registry, model),
        *await _refusal(registry, f"{endpoint.name}/no-such-model", "wrong model id", Reason.UNKNOWN_MODEL),
    ]
    if endpoint.api_key_env:
        other = Registry({endpoint.name: endpoint}, {**os.environ, endpoint.api_key_env: WRONG_KEY})
        found += await _refusal(other, model, "wrong key", Reason.AUTH)
        await other.aclose()
    return found


async def _unlisted(registry: Registry, model: str) -> list[Difference]:
    provider, name = split_model(model)
    try:
        names = [each.name for each in await registry.served_models(provider)]
    except ProviderError as error:
        return [("list of models", str(error))]
    return [] if name in names else [("list of models", f"{name} is not in it; choose another with -m")]


async def _panel(service: Service, model: str) -> list[Difference]:
    """Ask a panel of this model alone, as a user does."""
    proposer = Proposer(model=model, samples=2, max_tokens=MAX_TOKENS)
    preset = Preset(
        name="live", proposers=(proposer,), layers=2, aggregator=Aggregator(model=model, max_tokens=MAX_TOKENS)
    )
    try:
        run = await service.ask(AskRequest(QUESTION, preset, deadline_seconds=SECONDS, fresh=True))
    except MoAError as error:
        return [("panel", str(error))]
    differences = [each for record in run.sent for each in _in_call(record, service.registry)]
    if run.status != "completed" or "42" not in (run.answer or ""):
        differences.append(("answer", f"{run.status}: {run.answer or run.error}"))
    return list(dict.fromkeys(differences))


def _in_call(record: CallRecord, registry: Registry) -> Iterator[Difference]:
    draft, used = record.outcome, record.outcome.usage
    if not isinstance(draft, Draft):
        yield "call", str(record.error)
        return
    if draft.finish_reason != "stop":
        yield "finish reason", str(draft.finish_reason)
    for note in draft.notes:
        yield "request", note
    if draft.thinking and not used.reasoning_tokens:
        yield "reasoning tokens", "thoughts arrived, and none are counted"
    if not _is_same_model(split_model(record.call.model)[1], draft.served_model or ""):
        yield "served model", draft.served_model or "not named"
    yield from _in_bill(record, registry)


def _is_same_model(asked: str, served: str) -> bool:
    """Whether a service names the model that was asked for; it may add a date, or leave out the maker."""
    short, long = sorted((asked.rpartition("/")[2].lower(), served.rpartition("/")[2].lower()), key=len)
    return bool(short) and long.startswith(short.removesuffix("-latest"))


def _in_bill(record: CallRecord, registry: Registry) -> Iterator[Difference]:
    used, rates = record.outcome.usage, registry.rates(record.call.model)
    if used.estimated:
        yield "usage", "not reported"
    elif used.cost_usd is None:
        yield "price", "unknown"
    elif rates is not None and (listed := rates.cost(used)) and abs(used.cost_usd / listed - 1) > PRICE_TOLERANCE:
        yield "price", f"${used.cost_usd:.6f} for a call, where the price table says ${listed:.6f}"


async def _stream_and_cancel(registry: Registry, model: str) -> list[Difference]:
    """Ask for a long text, and cancel the call at its first words."""
    message = Message("user", LONG_QUESTION)
    call = ChatCall("long", "probe", 1, 1, model, (message,), max_tokens=MAX_TOKENS, timeout_seconds=SECONDS)
    notices: list[Notice] = []
    cancelled_at = 0.0
    with anyio.CancelScope() as scope, notices_to(notices.append):

        def cancel(piece: str) -> None:
            nonlocal cancelled_at
            if piece and not scope.cancel_called:
                cancelled_at = anyio.current_time()
                scope.cancel()

        try:
            await registry.complete(call, cancel)
        except ProviderError as error:
            return [("streaming", str(error))]
    waited = anyio.current_time() - cancelled_at
    if not any(isinstance(each, ReplyBegun) and each.is_stream for each in notices):
        return [("streaming", "the answer came as a whole")]
    return [("cancel", f"the call ended {waited:.1f} s later")] if waited > CANCEL_SECONDS else []


async def _refusal(registry: Registry, model: str, what: str, expected: Reason) -> list[Difference]:
    """Make a call that has to be refused for one reason."""
    call = ChatCall("refused", "probe", 1, 1, model, (Message("user", QUESTION),), max_tokens=16)
    try:
        await registry.complete(call, ignore_text)
    except ProviderError as error:
        return [] if error.reason is expected else [(what, f"{error.reason.value}, not {expected.value}: {error}")]
    return [(what, "it was answered")]


if __name__ == "__main__":
    try:
        sys.exit(live.main(prog_name="scripts/live", standalone_mode=False))
    except (MoAError, click.ClickException) as error:
        sys.exit(f"scripts/live: {error}")
