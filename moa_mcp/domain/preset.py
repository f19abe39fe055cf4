"""A preset: which models answer in which arrangement. Data that a person wrote, valid by construction.

Reading presets from files, with line numbers, is `presets/library.py`; what a run of one makes is `model.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Annotated, Any, ClassVar, Self, TypeAlias, TypeVar

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
    CONCLUDES,
    RESIDUALS,
    ROLES,
    ROUTES,
    SCREENS,
    SLOT_METHODS,
    STOPS,
    ConcludeSpec,
    Part,
    ResidualSpec,
    RolesSpec,
    RouteSpec,
    ScreenSpec,
    SlotMethod,
    StopSpec,
    describe_model,
)

Number = TypeVar("Number", int, float)


class Proposer(ModelSettings):
    """A model that writes drafts; `samples` of one model are slots of their own.

    `skills` are words that a gate compares with the question.
    """

    samples: Count = 1
    skills: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        return self.model

    @property
    def models(self) -> tuple[str, ...]:
        """The ids of the models without which it does not work."""
        return (self.model,)

    @property
    def details(self) -> str:
        """Its model and settings, on one line."""
        return describe_model(self)


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


class PanelSlot(StrictModel):
    """Another preset in a proposer's slot: its answer is the draft."""

    preset: Name

    samples: ClassVar[int] = 1
    skills: ClassVar[tuple[str, ...]] = ()

    @property
    def label(self) -> str:
        return f"panel/{self.preset}"

    @property
    def models(self) -> tuple[str, ...]:
        """The ids of the models without which it does not work: none are known before the preset is looked up."""
        return ()

    @property
    def details(self) -> str:
        """What it says, on one line."""
        return f"preset {self.preset}"


class NestedPreset(PanelSlot):
    """A panel in a slot once its preset has been looked up."""

    plan: Preset

    @property
    def models(self) -> tuple[str, ...]:
        """The ids of the models without which its preset does not work."""
        return self.plan.required_models


def _slot_tag(entry: Any) -> str:
    """The tag of what an entry means to be. Tags are in brackets: no key of a file can look like one."""
    match entry:
        case SlotMethod() | {"method": _}:
            return "<method>"
        case NestedPreset() | {"preset": _, "plan": _}:
            return "<nested>"
        case PanelSlot() | {"preset": _}:
            return "<preset>"
        case _:
            return "<model>"


Slot: TypeAlias = Annotated[
    Annotated[Proposer, BeforeValidator(from_id), Tag("<model>")]
    | Annotated[SlotMethod, SLOT_METHODS, Tag("<method>")]
    | Annotated[PanelSlot, Tag("<preset>")]
    | Annotated[NestedPreset, Tag("<nested>")],
    Discriminator(_slot_tag),
]
"""What may fill a slot: a model (an id alone will do), a method, or another preset.

Each has `label` (how records call it), `samples`, `skills`, `models` and `details`.
"""


def _synthesize() -> ConcludeSpec:
    """The paper's own end, which needs no word in a preset."""
    return CONCLUDES.parse({"by": "synthesize"})


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
    roles: Annotated[RolesSpec, ROLES] | None = None
    route: Annotated[RouteSpec, ROUTES] | None = None
    screen: Annotated[ScreenSpec, SCREENS] | None = None
    residual: Annotated[ResidualSpec, RESIDUALS] | None = None
    stop: Annotated[StopSpec, STOPS] | None = None
    conclude: Annotated[ConcludeSpec, CONCLUDES] = Field(default_factory=_synthesize)

    @model_validator(mode="after")
    def _check_constraints(self) -> Self:
        found = (_constraint_violations(self), *(part.problems(self) for part in self.parts))
        for problem in chain.from_iterable(found):
            raise problem
        return self

    @property
    def parts(self) -> tuple[Part, ...]:
        """The stages that the preset has, and how it concludes."""
        stages = (self.roles, self.route, self.screen, self.residual, self.stop)
        return (*(stage for stage in stages if stage is not None), self.conclude)

    @property
    def slots(self) -> tuple[Slot, ...]:
        """What sits in each place of a layer, a sample each: `samples: 3` stands three times."""
        return tuple(slot for slot in self.proposers for _ in range(slot.samples))

    @property
    def models(self) -> tuple[str, ...]:
        """Every model id that a run may call, without repeats, the fallbacks last."""
        return tuple(dict.fromkeys((*self.required_models, *self.aggregator.fallbacks)))

    @property
    def required_models(self) -> tuple[str, ...]:
        """The model ids without which the preset is not itself: all but the fallbacks."""
        slots = (model for slot in self.proposers for model in slot.models) if self.layers > 1 else ()
        asked = (model for part in self.parts for model in part.models)
        return tuple(dict.fromkeys((*slots, self.aggregator.model, *asked)))

    @property
    def slots_in_words(self) -> str:
        """How many slots a layer has, for messages about too few of them."""
        return f"a layer has only {len(self.slots)} slot{'s' if len(self.slots) != 1 else ''}"


def _min_or_none(a: Number | None, b: Number | None) -> Number | None:
    return min((n for n in (a, b) if n is not None), default=None)


def _constraint_violations(preset: Preset) -> Iterator[PydanticCustomError]:
    """Why a preset cannot be run, whatever its stages, though each of its values is right by itself."""
    slots = len(preset.slots)
    if preset.layers > 1 and not slots:
        yield constraint_error("a preset of more than one layer needs proposers", "at least one model", "proposers")
    if preset.layers > 1 and preset.min_drafts > slots:
        problem = f"min_drafts is {preset.min_drafts}, but {preset.slots_in_words}"
        yield constraint_error(problem, f"at most {slots}", "min_drafts")
