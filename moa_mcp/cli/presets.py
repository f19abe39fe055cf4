"""`moa-mcp presets`: the table of presets, one in full, and the check of a file."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import anyio
import click

from moa_mcp import yamlfile
from moa_mcp.cli.logs import log_level
from moa_mcp.cli.opening import valid_settings
from moa_mcp.cli.plan import estimate
from moa_mcp.cli.shape import tree
from moa_mcp.cli.table import table
from moa_mcp.errors import InvalidPreset, MissingKey
from moa_mcp.flows.rehearsal import Bounds
from moa_mcp.preset import Preset
from moa_mcp.presets import is_name, parse
from moa_mcp.service.catalog import PresetEntry
from moa_mcp.text import one_line, printable
from moa_mcp.wiring import open_service


@click.group(invoke_without_command=True)
@log_level
@click.pass_context
def presets(ctx: click.Context) -> None:
    """List the presets; `show` one, `validate` a file."""
    if ctx.invoked_subcommand is None:
        anyio.run(_list)


@presets.command()
@click.argument("name")
def show(name: str) -> None:
    """Show the shape of a preset, its calls and its price."""
    anyio.run(_show, name)


@presets.command()
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
def validate(file: Path) -> None:
    """Check the file of a preset; mistakes come with line and key."""
    if file.suffix != ".yaml" or not is_name(file.stem):
        expected = "lower-case letters, digits, - and _, then .yaml"
        raise InvalidPreset(file.name, "the name of this file is not the name of a preset", expected=expected)
    text = yamlfile.read(file, file.name, InvalidPreset)
    preset = parse(text, file.name, file.stem)
    if isinstance(preset, Preset):
        anyio.run(_check_names, preset, yamlfile.parse(text, file.name, InvalidPreset))
        click.echo(printable("\n".join(tree(preset))))
    click.echo(f"{file.name} is valid.")


async def _check_names(preset: Preset, document: yamlfile.Document) -> None:
    """Make sure that all that the preset names is declared; that a key is not set is no fault of the file."""
    valid_settings()
    async with open_service() as service:
        for place, slot in enumerate(preset.proposers):
            try:
                await service.catalog.completed(preset.model_copy(update={"proposers": (slot,)}))
            except InvalidPreset as error:
                path = ("proposers", place, "preset")
                raise document.error(error.problem, path, error.expected) from None
        with suppress(MissingKey):
            service.registry.check(preset.required_models)


async def _list() -> None:
    valid_settings()
    async with open_service() as service:
        entries = await service.catalog.entries()
    head = ("PRESET", "LAYERS", "PROPOSERS", "AGGREGATOR", "CALLS", "USABLE")
    click.echo(printable("\n".join(table([head, *map(_row, entries)]))))
    click.echo("* is the default. More on one of them: moa-mcp presets show NAME", err=True)


def _row(entry: PresetEntry) -> tuple[str, ...]:
    name = f"{entry.name}{' *' if entry.default else ''}"
    if entry.layers is None:
        return name, "-", "-", "-", "-", usability(entry)
    proposers = str(len(entry.proposers))
    return name, str(entry.layers), proposers, str(entry.aggregator), str(entry.calls), usability(entry)


def usability(entry: PresetEntry) -> str:
    """Whether a preset can be asked, and if not, what stands in the way."""
    if entry.usable:
        return "yes"
    if entry.missing:
        return f"needs {' and '.join(entry.missing)}"
    return one_line(f"no: {entry.problem}")


async def _show(name: str) -> None:
    valid_settings()
    async with open_service() as service:
        preset, _ = await service.catalog.resolve(name)
        entry = await service.catalog.entry(name)
        bounds = service.catalog.bounds(preset)
    click.echo(printable("\n".join((*_title(entry), *tree(preset), *_figures(entry, bounds)))))


def _title(entry: PresetEntry) -> list[str]:
    return [
        f"{entry.title} ({entry.source}{', the default' if entry.default else ''})",
        entry.description,
        "",
    ]


def _bounds(bounds: Bounds) -> str:
    least = f"at least {bounds.least_calls} calls in {bounds.least_rounds} rounds"
    return f"{least}, at most {bounds.most_calls} in {bounds.most_rounds}, retries not counted"


def _figures(entry: PresetEntry, bounds: Bounds) -> list[str]:
    return [
        "",
        f"{entry.layers} layers · {entry.calls} calls in {entry.serial_rounds} rounds",
        _bounds(bounds),
        f"{estimate(entry.estimated_cost_usd)} for a question of ordinary length",
        f"usable: {usability(entry)}",
    ]
