"""Presets for callers: resolved, with the number of calls, the price, and the reason if one cannot be used.

`presets/library.py` reads their files. `ceilings.py` applies the limits of the configuration.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Protocol, TypeAlias, cast

from moa_mcp.config.settings import Settings
from moa_mcp.config.yamlfile import Document
from moa_mcp.domain.endpoints import split_model
from moa_mcp.domain.errors import UnknownPreset, UserError
from moa_mcp.domain.model import Task
from moa_mcp.domain.preset import NestedPreset, PanelSlot, Preset, Slot
from moa_mcp.domain.usage import Usage
from moa_mcp.flows.panel import ask_panel
from moa_mcp.flows.planning.call_bounds import call_bounds
from moa_mcp.flows.planning.dry_run import Bounds, DryRun, dry_run
from moa_mcp.presets.auto import AutoPreset, choose_panel
from moa_mcp.presets.library import PresetLibrary, Source
from moa_mcp.providers.prices import Rates, rates

MAX_NESTING = 3
"""The maximum depth of presets nested in presets."""

_SOME_QUESTION = Task("Which of these answers is right, and what is wrong with each of the others? " * 6)
"""A question of typical length, used to estimate calls and price in a list of presets."""

SECONDS_PER_ROUND = 12
"""The time a hosted model needs for a draft of typical length: 700 tokens at about 60 tokens per second."""


class Models(Protocol):
    """Knows which models can be called."""

    def is_usable(self, model: str) -> bool:
        """Whether a call to `model` can be made: its provider is declared and has the key it needs."""
        ...

    def missing_key(self, model: str) -> str | None:
        """The name of the key variable that the provider of `model` needs, if it is not set; else None."""
        ...

    async def local_models(self, provider: str) -> list[str]:
        """The models of a local server. Empty if the server does not answer."""
        ...


@dataclass(frozen=True, slots=True)
class PresetEntry:
    """One preset in a list. A broken preset has a `problem` and no numbers.

    `missing` are names of key variables, `proposers` the model in each slot of a layer. `times_plain_price` is the
    price as a multiple of one plain call of the aggregator, `seconds` the estimated duration of a run. Prices are
    None if the price of a model is unknown. `seconds` is None if a model is local, because its speed is unknown.
    """

    name: str
    title: str
    description: str
    source: Source
    usable: bool
    missing: tuple[str, ...] = ()
    layers: int | None = None
    proposers: tuple[str, ...] = ()
    aggregator: str | None = None
    calls: int | None = None
    serial_rounds: int | None = None
    estimated_cost_usd: float | None = None
    times_plain_price: float | None = None
    seconds: float | None = None
    default: bool = False
    problem: str | None = None


class Catalog:
    """Resolves presets for runs, and lists them. `settings` returns the current settings."""

    def __init__(
        self,
        library: PresetLibrary,
        settings: Callable[[], Settings],
        models: Models,
        rates: Callable[[str], Rates | None] = rates,
    ) -> None:
        self._library = library
        self._settings = settings
        self._models = models
        self._rates = rates

    async def resolve(self, name: str | None, settings: Settings | None = None) -> tuple[Preset, tuple[str, ...]]:
        """The preset with that name, ready to run, and notes on automatic choices.

        `settings` are those that the caller has read; without them the current ones. Without a name: their default
        preset.

        Raises:
            UnknownPreset: there is no such preset.
            InvalidPreset: its file is broken, or a slot names an unknown preset or nests too deep.
        """
        settings = settings or self._settings()
        lookup = _Lookup(self._library, partial(self._choose, settings))
        if name is not None:
            return await lookup.find(name)
        try:
            return await lookup.find(settings.default_preset)
        except UnknownPreset as error:
            raise UnknownPreset(error.name, error.known, named_by="default_preset in config.yaml") from None

    async def resolve_slots(self, preset: Preset, document: Document) -> Preset:
        """Resolve the slots of a preset read from `document` instead of the library. Raises as `resolve` does."""
        return await _Lookup(self._library, partial(self._choose, self._settings())).within(
            preset, (preset.name,), lambda: document
        )

    def bounds(self, preset: Preset) -> Bounds:
        """The minimum and maximum of calls and rounds of a preset, for any question."""
        return call_bounds(preset, replace(_SOME_QUESTION, embeddings=self._settings().embeddings))

    def names(self) -> list[str]:
        """The names of all presets, sorted."""
        return self._library.names()

    def text(self, name: str) -> str:
        """The file of a preset as it was written. Raises UnknownPreset."""
        return self._library.text(name)

    async def entries(self) -> list[PresetEntry]:
        """The entries of all presets, sorted by name."""
        return [await self.entry(name) for name in self._library.names()]

    async def entry(self, name: str) -> PresetEntry:
        """The entry of one preset. Raises UnknownPreset."""
        source = self._library.source(name)
        settings = self._settings()
        default = name == settings.default_preset
        try:
            preset, notes = await self.resolve(name, settings)
            planned = _plan(preset)
        except UserError as error:
            return PresetEntry(name, name, str(error), source, usable=False, default=default, problem=str(error))
        unusable = [model for model in preset.required_models if not await self._is_available(model, settings)]
        keys = (self._models.missing_key(model) for model in unusable)
        cost = self.estimated_cost(planned)
        return PresetEntry(
            name=name,
            title=preset.title or name,
            description=" ".join((preset.description, *notes)).strip(),
            source=source,
            usable=not unusable,
            missing=tuple(sorted({key for key in keys if key is not None})),
            layers=preset.layers,
            proposers=tuple(slot.label for slot in preset.slots) if preset.layers > 1 else (),
            aggregator=preset.aggregator.model,
            calls=planned.calls,
            serial_rounds=planned.rounds,
            estimated_cost_usd=cost,
            times_plain_price=self._times_plain(preset, cost),
            seconds=_seconds(preset, planned, settings),
            default=default,
            problem=f"These models cannot be called now: {', '.join(unusable)}." if unusable else None,
        )

    def estimated_cost(self, dry_run: DryRun) -> float | None:
        """The estimated cost of the planned calls in USD. None if the price of any of them is unknown."""
        total = 0.0
        for call in dry_run.planned_calls:
            if (model_rates := self._rates(call.model)) is None:
                return None
            total += model_rates.cost(Usage(call.input_tokens, call.output_tokens))
        return total

    def unpriced(self, models: Iterable[str]) -> tuple[str, ...]:
        """Those of the models whose price is unknown, each once."""
        return tuple(model for model in dict.fromkeys(models) if self._rates(model) is None)

    def _times_plain(self, preset: Preset, cost: float | None) -> float | None:
        """`cost` divided by the cost of one plain call of the aggregator for the same question. None if unknown."""
        plain_cost = self.estimated_cost(_plan(Preset(aggregator=preset.aggregator, layers=1)))
        return round(cost / plain_cost, 1) if cost is not None and plain_cost else None

    async def _is_available(self, model: str, settings: Settings) -> bool:
        """Whether a model can be called. A local server must also answer and have the model."""
        provider, name = split_model(model)
        if not self._models.is_usable(model) or provider not in _local_servers(settings):
            return self._models.is_usable(model)
        return bool({name, f"{name}:latest"}.intersection(await self._models.local_models(provider)))

    async def _choose(self, settings: Settings, auto: AutoPreset) -> tuple[Preset, str]:
        local: Mapping[str, list[str]] = {}
        if not auto.reachable(self._models.is_usable):
            local = {name: await self._models.local_models(name) for name in _local_servers(settings)}
        return choose_panel(auto, self._models.is_usable, local)


def _seconds(preset: Preset, planned: DryRun, settings: Settings) -> float | None:
    """The estimated duration of a run in seconds, at most its deadline. None if a model is local."""
    providers = {split_model(model)[0] for model in preset.required_models}
    if any(endpoint.local for name, endpoint in settings.endpoints.items() if name in providers):
        return None
    deadline = settings.limits.per_run.lowered_by(preset.limits).deadline_seconds
    return min(planned.rounds * SECONDS_PER_ROUND, deadline or math.inf)


def _local_servers(settings: Settings) -> list[str]:
    """The providers that are programs on this computer. They may not be running."""
    return [name for name, endpoint in settings.endpoints.items() if endpoint.local and endpoint.base_url]


def _plan(preset: Preset) -> DryRun:
    """The planned calls of a preset for a question of typical length."""
    return _plan_cached(cast("Hashable", preset))  # hashable because frozen; the type checker does not know


@lru_cache(maxsize=512)
def _plan_cached(preset: Preset) -> DryRun:
    return dry_run(ask_panel(_SOME_QUESTION, preset))


class _NestedTooDeep(Exception):
    """Presets are nested too deep or in a circle. The message names the chain."""


Choose: TypeAlias = Callable[[AutoPreset], Awaitable[tuple[Preset, str]]]


class _Lookup:
    """One look-up of a preset and all presets in its slots. Each preset is read once."""

    def __init__(self, library: PresetLibrary, choose: Choose) -> None:
        self._library = library
        self._choose = choose
        self._found: dict[str, Preset] = {}
        self._notes: list[str] = []

    async def find(self, name: str) -> tuple[Preset, tuple[str, ...]]:
        preset = await self._complete(name, ())
        return preset, tuple(self._notes)

    async def _complete(self, name: str, above: tuple[str, ...]) -> Preset:
        if name in self._found:
            return self._found[name]
        trail = (*above, name)
        if name in above or len(above) >= MAX_NESTING:
            raise _NestedTooDeep(f"presets are nested too deep: {' > '.join(trail)}")
        preset = await self._read(name)
        self._found[name] = await self.within(preset, trail, lambda: self._library.document(name))
        return self._found[name]

    async def within(self, preset: Preset, trail: tuple[str, ...], document: Callable[[], Document]) -> Preset:
        """The preset with its slots resolved. `trail` are the names that lead to it, its own name last.

        An error in a slot is reported at its place in the preset's own `document`.
        """
        slots: list[Slot] = []
        for place, slot in enumerate(preset.proposers):
            path = ("proposers", place, "preset")
            try:
                slots.append(await self._slot(slot, trail))
            except UnknownPreset as error:
                expected = f"one of, nearest first, {', '.join(error.known)}"
                raise document().error(f"there is no preset {error.name!r}", path, expected) from None
            except _NestedTooDeep as error:
                if len(trail) > 1:  # report it at the first preset of the trail: the user asked for that one
                    raise
                raise document().error(str(error), path, f"at most {MAX_NESTING} levels and no circle") from None
        return preset.model_copy(update={"proposers": tuple(slots)})

    async def _read(self, name: str) -> Preset:
        found = self._library.get(name)
        if isinstance(found, Preset):
            return found
        preset, note = await self._choose(found)
        self._notes.append(note)
        return preset

    async def _slot(self, slot: Slot, trail: tuple[str, ...]) -> Slot:
        if isinstance(slot, PanelSlot):
            return NestedPreset(preset=slot.preset, plan=await self._complete(slot.preset, trail))
        return slot
