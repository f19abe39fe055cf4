"""`moa-mcp presets`: lists the presets, shows one in full, and checks the file of a preset."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import anyio
import click

from moa_mcp.api import open_service
from moa_mcp.cli.config import valid_settings
from moa_mcp.cli.group import async_command
from moa_mcp.cli.logs import log_level
from moa_mcp.cli.view.answer import write
from moa_mcp.cli.view.plan import estimate, extent
from moa_mcp.cli.view.preset_tree import tree
from moa_mcp.cli.view.prompts import prompt_lines
from moa_mcp.cli.view.table import table
from moa_mcp.config import yamlfile
from moa_mcp.config.settings import CONFIG, Settings
from moa_mcp.domain.endpoints import split_model
from moa_mcp.domain.errors import InvalidPreset, MissingKey, sort_by_closeness
from moa_mcp.domain.preset import Preset
from moa_mcp.domain.text import one_line, strip_invisible
from moa_mcp.domain.validation import KeyPath
from moa_mcp.flows.planning.prompts import prompts_of
from moa_mcp.presets.library import is_name, misnamed_file, parse
from moa_mcp.service.catalog import PresetEntry
from moa_mcp.views.run import pluralize


@click.group(invoke_without_command=True)
@log_level
@click.pass_context
def presets(ctx: click.Context) -> None:
    """List the presets; `show` one or its `prompts`, `validate` a file."""
    if ctx.invoked_subcommand is None:
        anyio.run(_list)


@presets.command()
@click.argument("name")
@async_command
async def show(name: str) -> None:
    """Show the shape of a preset, its calls and its price."""
    valid_settings()
    async with open_service() as service:
        preset, _ = await service.catalog.resolve(name)
        entry = await service.catalog.entry(name)
        bounds = service.catalog.bounds(preset)
    least = f"at least {pluralize(bounds.least_calls, 'call')} in {pluralize(bounds.least_rounds, 'round')}"
    lines = [
        f"{entry.title} ({entry.source}{', the default' if entry.default else ''})",
        entry.description,
        "",
        *tree(preset),
        "",
        extent(entry.layers, entry.calls, entry.serial_rounds),
        f"{least}, at most {bounds.most_calls} in {bounds.most_rounds}, retries not counted",
        f"{estimate(entry.estimated_cost_usd)} for a question of ordinary length",
        f"usable: {usability(entry)}",
    ]
    click.echo(strip_invisible("\n".join(lines)))


@presets.command()
@click.argument("name")
@async_command
async def prompts(name: str) -> None:
    """Show every prompt of a preset, with placeholders for the drafts."""
    valid_settings()
    async with open_service() as service:
        preset, _ = await service.catalog.resolve(name)
    write(strip_invisible("\n".join(prompt_lines(prompts_of(preset)))))


@presets.command()
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
def validate(file: Path) -> None:
    """Check the file of a preset; mistakes come with line and key."""
    if file.suffix != ".yaml" or not is_name(file.stem):
        raise misnamed_file(file.name)
    text = yamlfile.read(file, file.name, InvalidPreset)
    preset = parse(text, file.name, file.stem)
    if isinstance(preset, Preset):
        anyio.run(_check_names, preset, yamlfile.parse(text, file.name, InvalidPreset))
        click.echo(strip_invisible("\n".join(tree(preset))))
    click.echo(f"{file.name} is valid.")


async def _check_names(preset: Preset, document: yamlfile.Document) -> None:
    """Check that everything the preset names is declared. A missing key is not an error in the file."""
    _check_providers(preset, document, valid_settings().endpoints)
    async with open_service() as service:
        await service.catalog.resolve_slots(preset, document)
        with suppress(MissingKey):
            service.registry.check_usable(preset.required_models)


def _check_providers(preset: Preset, document: yamlfile.Document, declared: Collection[str]) -> None:
    """Check that the provider of every model, fallbacks included, is declared."""
    for model in preset.models:
        if (provider := split_model(model)[0]) not in declared:
            known = ", ".join(sort_by_closeness(provider, declared))
            expected = f"one of, nearest first, {known}, or one more that {CONFIG} declares"
            path = next((path for path, leaf in _leaves(document.data) if leaf == model), ())
            raise document.error(f"there is no provider {provider!r}", path, expected)


def _leaves(data: Any, path: KeyPath = ()) -> Iterator[tuple[KeyPath, Any]]:
    """Yield the path and value of every scalar in nested dicts and lists."""
    if isinstance(data, dict):
        for key, value in cast("dict[str, Any]", data).items():
            yield from _leaves(value, (*path, key))
    elif isinstance(data, list):
        for place, value in enumerate(cast("Sequence[Any]", data)):
            yield from _leaves(value, (*path, place))
    else:
        yield path, data


async def _list() -> None:
    settings = valid_settings()
    async with open_service() as service:
        entries = await service.catalog.entries()
    head = ("PRESET", "LAYERS", "PROPOSERS", "AGGREGATOR", "CALLS", "USABLE")
    click.echo(strip_invisible("\n".join(table([head, *map(_row, entries)]))))
    default = "* is the default" if any(entry.default for entry in entries) else default_preset_problem(settings)
    click.echo(f"{default}. More on one of them: moa-mcp presets show NAME", err=True)


def default_preset_problem(settings: Settings) -> str:
    """The message for a default preset that does not exist."""
    return f"The default preset, {settings.default_preset}, does not exist: correct default_preset in {CONFIG}"


def _row(entry: PresetEntry) -> tuple[str, ...]:
    name = f"{entry.name}{' *' if entry.default else ''}"
    if entry.layers is None:
        return name, "-", "-", "-", "-", usability(entry)
    proposers = str(len(entry.proposers))
    return name, str(entry.layers), proposers, str(entry.aggregator), str(entry.calls), usability(entry)


def usability(entry: PresetEntry) -> str:
    """Whether a preset can be used, and if not, the reason."""
    if entry.usable:
        return "yes"
    if entry.missing:
        return f"needs {' and '.join(entry.missing)}"
    return one_line(f"no: {entry.problem}")
