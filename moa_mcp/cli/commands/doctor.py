"""`moa-mcp doctor`: shows the configuration, keys, servers and presets, and whether `moa-mcp ask` can work.

With `--probe` it asks the models. It says the price first and does not wait for a yes: who types this word wants the
calls to be made, they cost less than the first question would, and the limits of a run hold for them, too.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import TypeAlias

import click

from moa_mcp.api import open_service
from moa_mcp.cli.commands.presets import default_preset_problem
from moa_mcp.cli.config import home
from moa_mcp.cli.group import DONE, FAILED, MISUSED, async_command
from moa_mcp.cli.logs import log_level
from moa_mcp.cli.view.probe import price_line, probe_text, unasked_text, verdict
from moa_mcp.cli.view.summary import all_demo
from moa_mcp.cli.view.table import table
from moa_mcp.config.plugins import plugins
from moa_mcp.config.settings import Paths, Settings, load_settings_or_defaults
from moa_mcp.domain.errors import InvalidConfig, unexpanded
from moa_mcp.domain.text import strip_invisible
from moa_mcp.presets.library import PresetLibrary
from moa_mcp.providers.wire.keys import is_quoted, missing_variables, placeholder_in
from moa_mcp.service.catalog import PresetEntry
from moa_mcp.service.probe import Probe, plan_probe
from moa_mcp.service.probe import probe as ask_models
from moa_mcp.service.service import LOCAL, Service

Rows: TypeAlias = Iterator[tuple[str, str]]


@click.command()
@click.option("--probe", is_flag=True, help="Make one tiny call to each model of the default preset; price said first.")
@click.option("-p", "--preset", metavar="NAME", help="Probe the models of this preset instead.")
@log_level
@async_command
async def doctor(probe: bool, preset: str | None) -> int:
    """Show configuration, keys and presets; exit 0 only if asks can work.

    \b
    moa-mcp doctor --probe           which keys and models work
    moa-mcp doctor --probe -p moa    the same for another preset
    """
    if preset is not None and not probe:
        raise click.UsageError("--preset names the models that --probe asks. Add --probe.")
    settings, problem = load_settings_or_defaults(home())
    async with open_service() as service:
        entries = await service.catalog.entries()
        local = await _local_servers(service, settings)
        store = await _store(service, settings)
        rows = [
            *_files(home(), problem),
            *_keys(settings),
            *local,
            ("store", store),
            *_plugins(),
            *_presets(entries),
            *_misnamed(home(), entries),
        ]
        click.echo(strip_invisible("\n".join(table(rows))))
        fault = str(problem) if problem else _problem(settings, entries)
        if fault or not probe:
            click.echo(strip_invisible(f"\n{_verdict(fault, settings, entries)}"))
        works = True if problem or not probe else await _probe(service, preset)
    return MISUSED if fault else DONE if works else FAILED


async def _probe(service: Service, name: str | None) -> bool:
    """Ask the models of a preset, print what each says, and return whether those that it needs work."""
    preset, _ = await service.catalog.resolve(name)
    plan, probes = plan_probe(service, preset), list[Probe]()
    endpoints = service.settings().endpoints

    def on_probe(found: Probe) -> None:
        probes.append(found)
        click.echo(probe_text(found, endpoints))

    if not (plan.calls or plan.refused):
        click.echo(f"\n{preset.name} calls no model, so there is nothing to probe.")
        return True
    click.echo(f"\n{price_line(plan)}")
    for model, reason in plan.refused.items():
        click.echo(unasked_text(model, reason))
    if plan.calls:
        await ask_models(service, plan, on_probe)
    click.echo(f"\n{verdict(plan, probes)}")
    return plan.needed.isdisjoint(plan.refused) and all(
        found.works for found in probes if found.record.call.model in plan.needed
    )


def _files(at: Paths, problem: InvalidConfig | None) -> Rows:
    state = "valid" if at.config_file.exists() else "not there; the defaults are used"
    yield "configuration", f"{at.config_file} ({f'not valid: {problem}' if problem else state})"
    for name, folder in (("presets folder", at.presets_folder), ("data folder", at.data_folder)):
        yield name, f"{folder}{'' if folder.is_dir() else ' (not there)'}"


def _keys(settings: Settings) -> Rows:
    """Whether each variable of a key or a header is set. Of the values, only a placeholder that is no key is shown.

    The keys are not tried: only a call to the provider shows whether it accepts the key (`--probe`).
    """
    for endpoint in settings.endpoints.values():
        missing = missing_variables(endpoint, os.environ)
        for variable in endpoint.variables:
            state = "missing" if variable in missing else "set, not checked"
            value = os.environ.get(variable, "")
            if is_quoted(value):
                state = "set, but in quotation marks: take them off"
            if placeholder := placeholder_in(value):
                state = f"missing: it holds {unexpanded(placeholder)}"
            what = "key" if variable == endpoint.api_key_env else "header"
            yield f"{what} of {endpoint.name}", f"{variable} {state}"


async def _local_servers(service: Service, settings: Settings) -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for endpoint in settings.endpoints.values():
        if endpoint.local and endpoint.base_url:
            models = await service.registry.local_models(endpoint.name)
            found = f"{len(models)} models" if models else "no answer, or no models"
            rows.append((f"local {endpoint.name}", f"{endpoint.base_url} {found}"))
    return rows


async def _store(service: Service, settings: Settings) -> str:
    await service.store.latest(LOCAL)
    if warnings := service.store.warnings():
        return " ".join(warnings)
    if not settings.store.enabled or settings.store.url.startswith("memory:"):
        return "in memory: runs are gone when their process ends"
    if not settings.store.url.startswith("sqlite:"):
        return f"a plug-in's, {settings.store.url.partition(':')[0]}: runs are kept {settings.store.keep_days} days"
    return f"on disk: runs are kept {settings.store.keep_days} days, in at most {settings.store.max_mb} MB"


def _plugins() -> Rows:
    for plugin in plugins():
        distribution = f" (of {plugin.distribution})" if plugin.distribution else ""
        yield "plug-in", f"{plugin.name}{distribution}: {plugin.state}"


def _presets(entries: Sequence[PresetEntry]) -> Rows:
    usable = [entry.name for entry in entries if entry.usable]
    yield "presets", f"{len(entries)}, usable now: {', '.join(usable) or 'none'}"
    for entry in entries:
        if entry.layers is None:
            yield "broken preset", str(entry.problem)
        elif entry.default:
            panel = " + ".join((*entry.proposers, f"aggregator {entry.aggregator}"))
            yield "default preset", f"{entry.name}: {panel}"


def _misnamed(at: Paths, entries: Sequence[PresetEntry]) -> Rows:
    """The files in the presets folder that no list shows, because their names are not valid names of presets."""
    shown = {entry.problem for entry in entries}
    for problem in map(str, PresetLibrary(at.presets_folder).problems()):
        if problem not in shown:
            yield "broken preset", problem


def _problem(settings: Settings, entries: Sequence[PresetEntry]) -> str | None:
    """Why a question without any options cannot be asked; None if it can."""
    default = next((entry for entry in entries if entry.default), None)
    if default is None:
        return f"{default_preset_problem(settings)}."
    if default.usable:
        return None
    if default.missing:
        return f"The default preset, {default.name}, needs {' and '.join(default.missing)}."
    return f"The default preset, {default.name}, is not usable: {default.problem}"


def _verdict(fault: str | None, settings: Settings, entries: Sequence[PresetEntry]) -> str:
    if fault:
        return f"Asks cannot work. {fault}"
    default = next(entry for entry in entries if entry.default)
    if all_demo((*default.proposers, str(default.aggregator)), settings.endpoints):
        return "Asks work, but only the demo panel answers, which calls no model. Set one of the keys above."
    set_up = "Asks can work: what the default preset needs is set."
    return f"{set_up} No key was checked: `moa-mcp doctor --probe` does that."
