"""A preset: which models answer in which arrangement. Data that a person wrote, valid by construction.

Reading presets from files, with line numbers, is `presets/library.py`; what a run of one makes is `model.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Self, TypeAlias, TypeVar

from pydantic import BeforeValidator, Discriminator, Field, StringConstraints, Tag, model_validator
from pydantic_core import PydanticCustomError

from moa_mcp.domain.fields import (
    Count,
    ModelId,
    ModelSettings,
    Name,
    PromptStyle,
    Seconds,
    StrictModel,
    constraint_error,
    from_id,
)
from moa_mcp.domain.stages import (
    ChainOfCode,
    Conclude,
    DiverseScreen,
    Gate,
    JudgedScreen,
    NoChangeStop,
    PanelSlot,
    Residual,
    Roles,
    Route,
    Screen,
    Stop,
    Synthesize,
    Take,
    TreeSearch,
    Windows,
)

Number = TypeVar("Number", int, float)


class Proposer(ModelSettings):
    """A model that writes drafts; `samples` of one model are slots of their own.

    `skills` are words that a gate compares with the question.
    """

    samples: Count = 1
    skills: tuple[str, ...] = ()


class Aggregator(ModelSettings):
    """The model that writes the answer, and the models to ask in its place when it fails."""

    fallbacks: tuple[ModelId, ...] = ()


class Limits(StrictModel):
    """Ceilings of a run. Unset means: the ceiling of the configuration alone."""

    max_calls: Annotated[int, Field(ge=1)] | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    max_cost_usd: Annotated[float, Field(gt=0)] | None = None
    deadline_seconds: Seconds | None = None

    def lowered_by(self, other: Limits) -> Limits:
        """Combine two sets of ceilings: of each, the lower one holds."""
        return Limits(
            max_calls=_min_or_none(self.max_calls, other.max_calls),
            max_tokens=_min_or_none(self.max_tokens, other.max_tokens),
            max_cost_usd=_min_or_none(self.max_cost_usd, other.max_cost_usd),
            deadline_seconds=_min_or_none(self.deadline_seconds, other.deadline_seconds),
        )


class NestedPreset(PanelSlot):
    """A panel in a slot once its preset has been looked up."""

    plan: Preset


_TAGS: dict[type[StrictModel], str] = {
    TreeSearch: "<tree-search>",
    ChainOfCode: "<chain-of-code>",
    PanelSlot: "<preset>",
    NestedPreset: "<nested>",
}


def _slot_tag(entry: Any) -> str:
    """The tag of what an entry means to be. Tags are in brackets: no key of a file can look like one."""
    if isinstance(entry, StrictModel):
        return _TAGS.get(type(entry), "<model>")
    if isinstance(entry, dict):
        if "method" in entry:
            return "<chain-of-code>" if entry["method"] == "chain-of-code" else "<tree-search>"
        if "preset" in entry:
            return "<nested>" if "plan" in entry else "<preset>"
    return "<model>"


Slot: TypeAlias = Annotated[
    Annotated[Proposer, BeforeValidator(from_id), Tag("<model>")]
    | Annotated[TreeSearch, Tag("<tree-search>")]
    | Annotated[ChainOfCode, Tag("<chain-of-code>")]
    | Annotated[PanelSlot, Tag("<preset>")]
    | Annotated[NestedPreset, Tag("<nested>")],
    Discriminator(_slot_tag),
]
"""What may sit in a slot: a model (an id alone will do), a method, or another preset."""


class Preset(StrictModel):
    """A named arrangement of models.

    `layers` counts the aggregator as the last layer, as the paper and its reference code do: 3 is two layers
    of proposers and the aggregator, 1 is one plain call of the aggregator's model.
    """

    name: Name = "unnamed"
    title: Annotated[str, StringConstraints(max_length=100)] = ""
    description: Annotated[str, StringConstraints(max_length=1000)] = ""
    proposers: Annotated[tuple[Slot, ...], Field(max_length=64)] = ()
    layers: Annotated[int, Field(ge=1, le=10)] = 2
    aggregator: Annotated[Aggregator, BeforeValidator(from_id)]
    min_drafts: Annotated[int, Field(ge=1)] = 1
    straggler_grace_seconds: Annotated[float, Field(ge=0, le=3600)] | None = 20
    prompt_style: PromptStyle = "fenced"
    limits: Limits = Limits()
    roles: Roles | None = None
    route: Route | None = None
    screen: Screen | None = None
    residual: Residual | None = None
    stop: Stop | None = None
    conclude: Conclude = Synthesize()

    @model_validator(mode="after")
    def _check_constraints(self) -> Self:
        for fault in _constraint_violations(self, len(self.slots)):
            raise fault
        return self

    @property
    def slots(self) -> tuple[Slot, ...]:
        """What sits in each place of a layer, a sample each: `samples: 3` stands three times."""
        return tuple(slot for slot in self.proposers for _ in range(getattr(slot, "samples", 1)))

    @property
    def models(self) -> tuple[str, ...]:
        """Every model id that a run may call, without repeats, the fallbacks last."""
        return tuple(dict.fromkeys((*self.required_models, *self.aggregator.fallbacks)))

    @property
    def required_models(self) -> tuple[str, ...]:
        """The model ids without which the preset is not itself: all but the fallbacks."""
        slots = (model for slot in self.proposers for model in _models_of(slot)) if self.layers > 1 else ()
        stages = (self.roles, self.route, self.screen, self.residual, self.conclude)
        asked = (model for stage in stages if stage is not None for model in _models_of(stage))
        return tuple(dict.fromkeys((*slots, self.aggregator.model, *asked)))


def _models_of(entry: StrictModel) -> Iterator[str]:
    if isinstance(entry, NestedPreset):
        yield from entry.plan.required_models
    if isinstance(entry, ModelSettings):
        yield entry.model
    for _, value in entry:
        if isinstance(value, ModelSettings):
            yield value.model


def _min_or_none(a: Number | None, b: Number | None) -> Number | None:
    return min((n for n in (a, b) if n is not None), default=None)


def _constraint_violations(preset: Preset, slots: int) -> Iterator[PydanticCustomError]:
    """Why a preset of so many slots in a layer cannot be run, though each of its values is right by itself."""
    few = f"a layer has only {slots} slot{'s' if slots != 1 else ''}"
    layers, route = preset.layers, preset.route
    if layers > 1 and not slots:
        yield constraint_error("a preset of more than one layer needs proposers", "at least one model", "proposers")
    if layers > 1 and preset.min_drafts > slots:
        yield constraint_error(f"min_drafts is {preset.min_drafts}, but {few}", f"at most {slots}", "min_drafts")
    if isinstance(route, Gate) and layers == 1:
        yield constraint_error("route by gate chooses among proposers", "layers to be 2 or more", "route")
    if isinstance(route, Gate) and max(route.at_least, route.at_most or 1) > slots:
        key = "at_least" if route.at_least > slots else "at_most"
        most = max(route.at_least, route.at_most or 1)
        yield constraint_error(f"the gate chooses {most}, but {few}", f"at most {slots}", "route", key)
    if isinstance(preset.screen, JudgedScreen | DiverseScreen) and preset.screen.keep > slots:
        problem = f"screen keeps {preset.screen.keep}, but {few}"
        yield constraint_error(problem, f"at most {slots}", "screen", "keep")
    if isinstance(preset.stop, NoChangeStop) and preset.residual is None:
        yield constraint_error("stop by residual needs a residual stage", "a key residual beside it", "stop")
    if isinstance(preset.conclude, Take) and slots != 1:
        yield constraint_error(f"conclude by take needs exactly one slot, not {slots}", "one proposer", "conclude")
    if isinstance(preset.conclude, Windows) and layers != 2:
        yield constraint_error("conclude by windows works on the drafts of one layer", "layers to be 2", "conclude")
