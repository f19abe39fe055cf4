"""The preset whose panel is chosen for each run: the best panel for the available keys and local servers.

The choice is a pure function: the caller passes in which models are usable and which models the local servers have.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated

from pydantic import Field, StringConstraints

from moa_mcp.domain.fields import Count, ModelId, StrictModel
from moa_mcp.domain.preset import Aggregator, Limits, NamedPreset, Preset, PresetLimits, Proposer

Usable = Callable[[str], bool]
"""Whether a model id can be called: its provider is declared and its key is set."""

MAX_FALLBACKS = 2


class Candidate(StrictModel):
    """A proposer to consider."""

    family: Annotated[str, StringConstraints(min_length=1, max_length=60)] = Field(
        description="The family of the model. One model of each family is taken before a second of any."
    )
    routes: Annotated[tuple[ModelId, ...], Field(min_length=1)] = Field(
        description="Model ids that lead to the same model, the preferred one first."
    )


class AutoPreset(NamedPreset):
    """A preset whose panel is chosen for each run, by the keys and local servers at hand."""

    candidates: Annotated[tuple[Candidate, ...], Field(min_length=1)] = Field(
        description="Proposers to choose from, the best first."
    )
    aggregators: Annotated[tuple[ModelId, ...], Field(min_length=1)] = Field(
        description="Aggregators to choose from, the best first; the next usable ones are its fallbacks."
    )
    size: Count = Field(default=4, description="The most proposers that are chosen.")
    not_chat: tuple[str, ...] = Field(
        default=(), description="Parts of names of local models that do not chat, for example embed."
    )
    last_resort: Annotated[tuple[ModelId, ...], Field(min_length=1)] = Field(
        description="Models that answer when no key is set and no local server has a model."
    )
    limits: PresetLimits = Limits()

    def reachable(self, usable: Usable) -> bool:
        """Whether any candidate can be called. If so, the models of local servers are not needed."""
        return any(usable(route) for candidate in self.candidates for route in candidate.routes)


def choose_panel(auto: AutoPreset, usable: Usable, local_models: Mapping[str, Sequence[str]]) -> tuple[Preset, str]:
    """Choose the panel. Return it with one line that explains the choice.

    `local_models` lists the models of each local provider.
    """
    if proposers := _pick_diverse(auto, usable):
        aggregators = [model for model in auto.aggregators if usable(model)] or proposers
        return _arrange(auto, proposers, aggregators, "your keys allow")
    if found := _pick_local(auto, local_models):
        return _arrange(auto, found[: auto.size], found[:1], "your local servers have, as no key is set")
    preset = _preset(auto, [Proposer(model=model) for model in auto.last_resort], auto.last_resort[:1])
    return preset, (
        f"{auto.name}: no key is set and no local server has a model, so canned demonstration drafts answer, "
        "not models. Set a key variable, for example OPENROUTER_API_KEY, or start Ollama."
    )


def _pick_diverse(auto: AutoPreset, usable: Usable) -> list[str]:
    """Return the best usable candidates: first one of each family, then, if there is room, the next of each."""
    routes = [(candidate.family, next(filter(usable, candidate.routes), None)) for candidate in auto.candidates]
    ranked = [(family, route) for family, route in routes if route is not None]
    families = [family for family, _ in ranked]
    # Sort by the number of earlier candidates of the same family: 0 for the best of each family.
    order = sorted(range(len(ranked)), key=lambda place: families[:place].count(families[place]))
    return [ranked[place][1] for place in order[: auto.size]]


def _pick_local(auto: AutoPreset, local_models: Mapping[str, Sequence[str]]) -> list[str]:
    return [
        f"{provider}/{model}"
        for provider, models in local_models.items()
        for model in models
        if not any(part in model.lower() for part in auto.not_chat)
    ]


def _arrange(auto: AutoPreset, proposers: Sequence[str], aggregators: Sequence[str], why: str) -> tuple[Preset, str]:
    if len(proposers) == 1:
        slots = [Proposer(model=proposers[0], samples=auto.size)]
        note = f"{proposers[0]} is the one model {why}, so it drafts {auto.size} times"
    else:
        slots = [Proposer(model=model) for model in proposers]
        note = f"{len(proposers)} models {why} ({', '.join(proposers)})"
    return _preset(auto, slots, aggregators), f"{auto.name}: {note}; aggregator {aggregators[0]}."


def _preset(auto: AutoPreset, slots: Sequence[Proposer], aggregators: Sequence[str]) -> Preset:
    best, *others = aggregators
    return Preset(
        name=auto.name,
        title=auto.title,
        description=auto.description,
        proposers=tuple(slots),
        aggregator=Aggregator(model=best, fallbacks=tuple(others[:MAX_FALLBACKS])),
        limits=auto.limits,
    )
