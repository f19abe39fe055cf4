"""`moa-mcp models`: lists the models that providers offer now, with window and price."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import click

from moa_mcp.api import open_service
from moa_mcp.cli.config import valid_settings
from moa_mcp.cli.group import DONE, FAILED, MISUSED, async_command
from moa_mcp.cli.logs import log_level
from moa_mcp.cli.view.table import wrapped
from moa_mcp.domain.endpoints import BUILTIN, DIALECTS, Endpoint
from moa_mcp.domain.errors import InvalidRequest, Reason, sort_by_closeness
from moa_mcp.domain.text import strip_invisible
from moa_mcp.providers.registry import Registry
from moa_mcp.service.model_lists import ListedModel, ModelList, list_models
from moa_mcp.views.run import pluralize

MAX_SHOWN = 20
"""The most models of one provider that are shown where neither a provider nor words were given."""


@click.command()
@click.argument("provider", required=False)
@click.option("--search", metavar="TEXT", help="Only models whose ids have all these words.")
@click.option("--json", "as_json", is_flag=True, help="Print all lists as JSON, and nothing else, on stdout.")
@log_level
@async_command
async def models(provider: str | None, search: str | None, as_json: bool) -> int:
    """List the models that can be asked now, with window and price.

    All providers are asked at the same time: those whose keys are set, and servers on this computer. A listed id is
    what presets name.

    \b
    moa-mcp models                        what each provider offers
    moa-mcp models openrouter             all of one provider
    moa-mcp models --search "qwen3 coder"
    """
    settings = valid_settings()
    async with open_service() as service:
        wanted = _asked(settings.endpoints, service.registry, provider)
        found = await list_models(service.registry, wanted)
    lists = [each.matching(search) if search else each for each in found]
    if as_json:
        click.echo(json.dumps(list(map(_facts, lists)), ensure_ascii=False, indent=2))
    else:
        silent = [each.provider for each in lists if provider is None and _is_not_running(each)]
        shown = [each for each in lists if each.provider not in silent and (each.models or each.error or not search)]
        most = None if provider or search else MAX_SHOWN
        click.echo(strip_invisible("\n\n".join("\n".join(_lines(each, most)) for each in shown)), nl=bool(shown))
        if search and not any(each.models for each in lists):
            click.echo(strip_invisible(f"No id of a model has all of these words: {search}"), err=True)
        _hint(settings.endpoints, service.registry, provider, silent)
    if any(each.error and each.error.reason is Reason.MISSING_KEY for each in lists):
        return MISUSED
    return FAILED if lists and all(each.error for each in lists) else DONE


def _asked(endpoints: Mapping[str, Endpoint], registry: Registry, provider: str | None) -> list[str]:
    """The providers to ask: the one that was named, or all that have an address and their keys."""
    listing = [name for name, each in endpoints.items() if DIALECTS.get(each.dialect).needs_base_url]
    if provider is None:
        return [name for name in listing if registry.is_usable(f"{name}/")]
    if provider in listing:
        return [provider]
    if provider in endpoints:
        raise InvalidRequest(f"Provider {provider!r} has no address, so nothing lists its models.")
    known = ", ".join(sort_by_closeness(provider, listing))
    raise InvalidRequest(
        f"There is no provider {provider!r}. Known, nearest first: {known}. "
        f"To look for a model: `moa-mcp models --search {provider}`."
    )


def _is_not_running(found: ModelList) -> bool:
    """Whether a built-in local server does not answer, which is no fault: nobody said that it is there."""
    known = BUILTIN.get(found.provider)
    return known is not None and known.local and found.error is not None and found.error.reason is Reason.CONNECTION


def _facts(found: ModelList) -> dict[str, Any]:
    return {"provider": found.provider, "error": found.problem, "models": list(map(asdict, found.models))}


def _lines(found: ModelList, most: int | None) -> Sequence[str]:
    if found.problem is not None:
        return wrapped(f"{found.provider}: {found.problem}")
    models = found.models[:most]
    head = [f"{found.provider} · {pluralize(len(found.models), 'model')}"]
    if models:
        head.append(f"{'WINDOW':>10}  {'IN $/M':>7}  {'OUT $/M':>7}  MODEL")
    left = len(found.models) - len(models)
    rest = [f"{left} more: moa-mcp models {found.provider}, or --search TEXT"] if left else []
    return [*head, *map(_row, models), *rest]


def _row(listed: ListedModel) -> str:
    window = "-" if listed.window is None else f"{listed.window:,}"
    read, written = (listed.price.input_mtok, listed.price.output_mtok) if listed.price else (None, None)
    return f"{window:>10}  {_dollars(read):>7}  {_dollars(written):>7}  {listed.model}"


def _dollars(price: float | None) -> str:
    return "-" if price is None else "free" if price == 0 else f"{price:.4g}"


def _hint(endpoints: Mapping[str, Endpoint], registry: Registry, provider: str | None, silent: Sequence[str]) -> None:
    """Print which providers were not asked, and the servers that do not run, on stderr."""
    if provider is not None:
        return
    keyless = [f"{name} ({key})" for name in endpoints if (key := registry.missing_key(f"{name}/"))]
    if keyless:
        click.echo("\n".join(wrapped(f"Not asked, because no key is set: {', '.join(keyless)}.")), err=True)
    if silent:
        click.echo("\n".join(wrapped(f"Not running: {', '.join(silent)}.")), err=True)
