"""Plug-ins: distributions outside this one that add dialects, methods or stores.

A plug-in declares entry points in the groups `GROUPS`; each names a module that registers what it adds when it is
imported. It is imported only if a person names the entry point or its distribution under `plugins` in config.yaml.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from moa_mcp.domain.endpoints import DIALECTS
from moa_mcp.domain.stages import METHODS
from moa_mcp.domain.stores import STORES
from moa_mcp.domain.text import one_line
from moa_mcp.domain.variants import PLUGIN_FAILURES, Registry

GROUPS = ("moa_mcp.dialects", "moa_mcp.methods", "moa_mcp.stores")

_NOT_INSTALLED = "it is not installed"

_named: list[str] = []
"""What `load_plugins` was last called with."""

_results: dict[EntryPoint, str | None] = {}
"""What came of importing a plug-in, once in the life of a process: None, or why it could not be imported."""


@dataclass(frozen=True, slots=True)
class Plugin:
    """An entry point that is installed, or a name in `plugins` that no installed one has.

    `state` is in words: "loaded", or why it is not.
    """

    name: str
    state: str
    distribution: str = ""


def load_plugins(names: Iterable[str]) -> None:
    """Import the plug-ins of these names that were not imported before.

    What cannot be imported is kept in `PLUGIN_FAILURES`, which errors about unknown variants repeat. Nothing is
    raised: a server works without a plug-in as far as it can.
    """
    names = list(names)
    _named[:] = names
    PLUGIN_FAILURES.clear()
    PLUGIN_FAILURES.update(dict.fromkeys(names, _NOT_INSTALLED))
    if not names:
        return  # what is installed is looked up only where it is asked for: that takes time
    registries: tuple[Registry[Any], ...] = (DIALECTS, STORES, *METHODS)
    for registry in registries:
        registry.load_home()  # first, so that a plug-in cannot take the name of what is built in
    for point in _installed():
        if found := _names_of(point).intersection(map(_normalize, names)):
            for name in [name for name in names if _normalize(name) in found]:
                PLUGIN_FAILURES.pop(name, None)
            _load(point)


def plugins() -> list[Plugin]:
    """What is installed, and what config.yaml names, as `load_plugins` last left them."""
    found = [_describe(point) for point in _installed()]
    missing = (name for name in _named if PLUGIN_FAILURES.get(name) == _NOT_INSTALLED)
    return [*found, *(Plugin(name, "named in config.yaml, but not installed") for name in missing)]


def _load(point: EntryPoint) -> None:
    if point not in _results:
        try:
            point.load()
            _results[point] = None
        except Exception as error:
            _results[point] = one_line(f"{type(error).__name__}: {error}")
    if failure := _results[point]:
        PLUGIN_FAILURES[point.name] = failure


def _describe(point: EntryPoint) -> Plugin:
    distribution = point.dist.name if point.dist else ""
    if not _names_of(point).intersection(map(_normalize, _named)):
        state = "installed, but not named under plugins in config.yaml: it is not used"
        return Plugin(point.name, state, distribution)
    failure = PLUGIN_FAILURES.get(point.name)
    return Plugin(point.name, f"not loaded: {failure}" if failure else "loaded", distribution)


def _installed() -> Iterator[EntryPoint]:
    for group in GROUPS:
        yield from entry_points(group=group)


def _names_of(point: EntryPoint) -> set[str]:
    return {_normalize(point.name), *([_normalize(point.dist.name)] if point.dist else [])}


def _normalize(name: str) -> str:
    """A name as packaging compares it: `My_Plugin` and `my-plugin` are one."""
    return re.sub(r"[-_.]+", "-", name).lower()


def names_in(data: Mapping[str, Any]) -> list[str]:
    """The names under `plugins` in a configuration that was not checked yet."""
    match data.get("plugins"):
        case [*names]:
            return [str(name) for name in names]
        case _:
            return []
