"""Plug-ins: distributions outside this one that add dialects, methods or stores.

A plug-in declares entry points in the groups `GROUPS`. Each entry point names a module that registers its additions
on import. A module is imported only if config.yaml names the entry point or its distribution under `plugins`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from moa_mcp.domain.endpoints import DIALECTS
from moa_mcp.domain.preset import NestedPreset, Preset
from moa_mcp.domain.stages import METHODS
from moa_mcp.domain.stores import STORES
from moa_mcp.domain.text import one_line
from moa_mcp.domain.variants import PLUGIN_FAILURES, PLUGIN_OF, VariantRegistry

GROUPS = ("moa_mcp.dialects", "moa_mcp.methods", "moa_mcp.stores")

_REGISTRIES: tuple[VariantRegistry[Any], ...] = (DIALECTS, STORES, *METHODS)

_NOT_INSTALLED = "it is not installed"

_configured_names: list[str] = []
"""The names passed to the last call of `load_plugins`."""

_results: dict[EntryPoint, str | None] = {}
"""The result of each import, one per plug-in and process: None, or why the import failed."""


@dataclass(frozen=True, slots=True)
class Plugin:
    """An installed entry point, or a name under `plugins` that matches no installed entry point.

    `state` is text: that it is loaded and in which version, or the reason why it is not loaded.
    """

    name: str
    state: str
    distribution: str = ""


def load_plugins(names: Iterable[str]) -> None:
    """Import the plug-ins with these names that were not imported before.

    A failed import raises nothing, because the server also works without the plug-in. The reason is kept in
    `PLUGIN_FAILURES`, and errors about unknown variants repeat it.
    """
    names = list(names)
    _configured_names[:] = names
    PLUGIN_FAILURES.clear()
    PLUGIN_FAILURES.update(dict.fromkeys(names, _NOT_INSTALLED))
    if not names:
        return  # reading the installed entry points takes time
    for registry in _REGISTRIES:
        registry.load_home()  # first, so that a plug-in cannot take a built-in name
    for point in _installed():
        if found := _names_of(point).intersection(map(_normalize, names)):
            for name in [name for name in names if _normalize(name) in found]:
                PLUGIN_FAILURES.pop(name, None)
            _load(point)


def plugins() -> list[Plugin]:
    """List the installed plug-ins and the missing ones that config.yaml names, as of the last `load_plugins`."""
    found = [_describe(point) for point in _installed()]
    missing = (name for name in _configured_names if PLUGIN_FAILURES.get(name) == _NOT_INSTALLED)
    return [*found, *(Plugin(name, "named in config.yaml, but not installed") for name in missing)]


def versions_used(preset: Preset, dialects: Iterable[str]) -> dict[str, str]:
    """Return the distributions, with their versions, of the plug-ins whose variants `preset` and `dialects` are."""
    variants: list[object] = [*map(type, _specs(preset)), *map(DIALECTS.get, dialects)]
    return dict(sorted(PLUGIN_OF[variant] for variant in variants if variant in PLUGIN_OF))


def version_changes(began_with: Mapping[str, str] | None, now: Mapping[str, str]) -> list[str]:
    """Return a note for each plug-in that a resumed run finds in another version than the one that it began with."""
    changed = {} if began_with is None else dict(sorted(set(began_with.items()) ^ set(now.items())))
    return [
        f"the plug-in {name} was {(began_with or {}).get(name, 'not in use')} when this run began, "
        f"and is {now.get(name, 'not in use')} now"
        for name in changed
    ]


def _specs(preset: Preset) -> Iterator[object]:
    yield from preset.parts
    for slot in preset.proposers:
        yield slot
        if isinstance(slot, NestedPreset):
            yield from _specs(slot.plan)


def _variants() -> set[object]:
    return {variant for registry in _REGISTRIES for variant in registry.all().values()}


def _load(point: EntryPoint) -> None:
    if point not in _results:
        before = _variants()
        try:
            point.load()
            _results[point] = None
        except Exception as error:
            _results[point] = one_line(f"{type(error).__name__}: {error}")
        PLUGIN_OF.update(dict.fromkeys(_variants() - before, _distribution(point)))
    if failure := _results[point]:
        PLUGIN_FAILURES[point.name] = failure


def _describe(point: EntryPoint) -> Plugin:
    distribution, version = _distribution(point)
    if not _names_of(point).intersection(map(_normalize, _configured_names)):
        state = "installed, but not named under plugins in config.yaml: it is not used"
        return Plugin(point.name, state, distribution)
    failure = PLUGIN_FAILURES.get(point.name)
    return Plugin(point.name, f"not loaded: {failure}" if failure else f"loaded, version {version}", distribution)


def _distribution(point: EntryPoint) -> tuple[str, str]:
    return (point.dist.name, point.dist.version) if point.dist else (point.name, "unknown")


def _installed() -> Iterator[EntryPoint]:
    for group in GROUPS:
        yield from entry_points(group=group)


def _names_of(point: EntryPoint) -> set[str]:
    return {_normalize(point.name), _normalize(_distribution(point)[0])}


def _normalize(name: str) -> str:
    """Normalize a name as packaging does: `My_Plugin` and `my-plugin` are equal."""
    return re.sub(r"[-_.]+", "-", name).lower()


def names_in(data: Mapping[str, Any]) -> list[str]:
    """Return the names under `plugins` in a configuration that is not validated yet."""
    match data.get("plugins"):
        case [*names]:
            return [str(name) for name in names]
        case _:
            return []
