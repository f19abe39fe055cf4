"""A preset: the models of a panel and their arrangement. A preset object is always valid.

`presets/library.py` reads presets from files; `model.py` has the values of a run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self, TypeAlias, TypeVar

from pydantic import BeforeValidator, Discriminator, Field, StringConstraints, Tag, ValidationError, model_validator
from pydantic.json_schema import SkipJsonSchema
from pydantic_core import PydanticCustomError

from moa_mcp.domain.errors import InvalidPreset
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
    AFTER_LAYER,
    BEFORE_LAYERS,
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
from moa_mcp.domain.validation import first_problem, format_path

Number = TypeVar("Number", int, float)


class Proposer(ModelSettings):
    """A model that writes drafts."""

    samples: Count = Field(
        default=1, description="How many drafts this model writes per layer. Each counts as a slot of its own."
    )
    skills: tuple[str, ...] = Field(
        default=(), description="What the model is good at. route by gate compares these words with the question."
    )

    @property
    def label(self) -> str:
        return self.model

    @property
    def models(self) -> tuple[str, ...]:
        """The ids of the models that it needs."""
        return (self.model,)

    @property
    def details(self) -> str:
        """Its model and settings, on one line."""
        return describe_model(self)


class Aggregator(ModelSettings):
    """A model with its settings, and the models that are asked when it fails."""

    fallbacks: tuple[ModelId, ...] = Field(
        default=(), description="Models to ask in this order when the aggregator fails; each is one more call."
    )


OnUnknownPrice: TypeAlias = Literal["note", "refuse"]
OnPartial: TypeAlias = Literal["answer", "refuse"]


class Limits(StrictModel):
    """What is unset is limited by config.yaml alone."""

    max_calls: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="The most model calls of a run, retries included."
    )
    max_tokens: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="The most tokens of a run, read and written together."
    )
    max_cost_usd: Annotated[float, Field(gt=0)] | None = Field(
        default=None, description="The most US dollars a run may cost, by the known prices of its models."
    )
    deadline_seconds: Seconds | None = Field(
        default=None, description="Seconds until a run has to end; it then answers from what is there."
    )
    on_unknown_price: OnUnknownPrice | None = Field(
        default=None,
        description="What to do about models without a known price, which max_cost_usd cannot limit: note or refuse.",
    )

    def lowered_by(self, other: Limits) -> Limits:
        """Combine two sets of limits: the lower value of each limit applies, and `refuse` beats `note`."""
        choices = (self.on_unknown_price, other.on_unknown_price)
        return Limits(
            max_calls=_min_or_none(self.max_calls, other.max_calls),
            max_tokens=_min_or_none(self.max_tokens, other.max_tokens),
            max_cost_usd=_min_or_none(self.max_cost_usd, other.max_cost_usd),
            deadline_seconds=_min_or_none(self.deadline_seconds, other.deadline_seconds),
            on_unknown_price="refuse" if "refuse" in choices else self.on_unknown_price or other.on_unknown_price,
        )


class PanelSlot(StrictModel):
    """Another preset in a proposer's slot: its answer is the draft."""

    preset: Name = Field(description="The name of the preset that answers in this slot.")

    samples: ClassVar[int] = 1
    skills: ClassVar[tuple[str, ...]] = ()

    @property
    def label(self) -> str:
        return f"panel/{self.preset}"

    @property
    def models(self) -> tuple[str, ...]:
        """The ids of the models that it needs: unknown until the preset is looked up."""
        return ()

    @property
    def details(self) -> str:
        """The content, on one line."""
        return f"preset {self.preset}"


PresetLimits: TypeAlias = Annotated[
    Limits,
    Field(description="The most that a run may use, never above config.yaml's limits."),
]


class NestedPreset(PanelSlot):
    """A panel in a slot, after its preset was looked up."""

    plan: Preset = Field(description="The preset itself; never written in a file.")

    @property
    def models(self) -> tuple[str, ...]:
        """The ids of the models that its preset needs."""
        return self.plan.required_models


def _slot_tag(entry: Any) -> str:
    """Return the tag of the kind of an entry. Tags are in angle brackets, so no key of a file equals a tag."""
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
    Annotated[Proposer, BeforeValidator(from_id, json_schema_input_type=ModelId | Proposer), Tag("<model>")]
    | Annotated[SlotMethod, SLOT_METHODS, Tag("<method>")]
    | Annotated[PanelSlot, Tag("<preset>")]
    | Annotated[SkipJsonSchema[NestedPreset], Tag("<nested>")],
    Discriminator(_slot_tag),
]
"""The content of a slot: a model (with settings or only its id), a method, or another preset.

Each has `label` (its name in records), `samples`, `skills`, `models` and `details`.
"""


def _synthesize() -> ConcludeSpec:
    """Return the default way to conclude, as in the paper."""
    return CONCLUDES.parse({"by": "synthesize"})


AggregatorOrId: TypeAlias = Annotated[Aggregator, BeforeValidator(from_id, json_schema_input_type=ModelId | Aggregator)]
"""The aggregator with its settings, or its id alone."""


class NamedPreset(StrictModel):
    """The name and description of a preset of any shape."""

    name: Name = Field(
        default="unnamed", description="The preset's name: that of its file without .yaml. Best left out in the file."
    )
    title: Annotated[str, StringConstraints(max_length=100)] = Field(
        default="", description="Shown in lists of presets."
    )
    description: Annotated[str, StringConstraints(max_length=1000)] = Field(
        default="", description="What the preset is good for, in a sentence or two."
    )


class Preset(NamedPreset):
    """A named arrangement of models.

    `layers` counts the aggregator as the last layer, as the paper and its reference code do: 3 is two layers
    of proposers and the aggregator, 1 is one plain call of the aggregator's model.
    """

    proposers: Annotated[tuple[Slot, ...], Field(max_length=64)] = Field(
        default=(),
        description="Who drafts in each proposer layer: model ids, models with settings, methods or other presets.",
    )
    layers: Annotated[int, Field(ge=1, le=10)] = Field(
        default=2,
        description="How many layers, counting the aggregator; 1 is one plain call of its model.",
    )
    aggregator: AggregatorOrId = Field(description="The model that writes the answer from the drafts.")
    min_drafts: Annotated[int, Field(ge=1)] = Field(
        default=1,
        description="With fewer the answer is degraded; a later layer is then left out.",
    )
    require_drafts: Annotated[int, Field(ge=1)] = Field(
        default=1, description="With fewer in the first layer the run fails."
    )
    on_partial: OnPartial = Field(
        default="answer",
        description="Once a draft is missing: answer, or refuse and fail before the next layer.",
    )
    straggler_grace_seconds: Annotated[float, Field(ge=0, le=3600)] | None = Field(
        default=20,
        description="Seconds to wait for the slowest fifth of a layer after the rest. Null: no limit.",
    )
    prompt_style: PromptStyle = Field(
        default="auto",
        description="How the next layer reads drafts. tagged: in the system prompt. fenced: behind the question. "
        "paper: as in the paper's code. auto: by model and length.",
    )
    limits: PresetLimits = Limits()
    roles: Annotated[RolesSpec, ROLES] | None = Field(
        default=None, description="Give each slot a persona of its own. Null: none."
    )
    route: Annotated[RouteSpec, ROUTES] | None = Field(
        default=None, description="Choose by the question which proposers, or which model alone, answer it. Null: all."
    )
    screen: Annotated[ScreenSpec, SCREENS] | None = Field(
        default=None, description="Choose after each layer which drafts the next one reads. Null: all."
    )
    residual: Annotated[ResidualSpec, RESIDUALS] | None = Field(
        default=None, description="Pass on to each layer what changed since the layer before. Null: do not."
    )
    stop: Annotated[StopSpec, STOPS] | None = Field(default=None, description="When the layers end early. Null: never.")
    conclude: Annotated[ConcludeSpec, CONCLUDES] = Field(
        default_factory=_synthesize, description="How the drafts of the last layer become the answer."
    )

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            aggregator: Aggregator | str | Mapping[str, Any],
            proposers: Sequence[Slot | str | Mapping[str, Any]] = (),
            layers: int = 2,
            name: str = "unnamed",
            min_drafts: int = 1,
            require_drafts: int = 1,
            on_partial: OnPartial = "answer",
            straggler_grace_seconds: float | None = 20,
            prompt_style: PromptStyle = "auto",
            limits: Limits | Mapping[str, Any] = Limits(),
            **others: Any,
        ) -> None:
            """Make a preset in code. A model is an id, a mapping as in YAML, or an object of its class.

            Raises:
                InvalidPreset: a value is invalid; the message names its key and the expected value.
            """

    else:

        def __init__(self, **values):
            try:
                super().__init__(**values)
            except ValidationError as error:
                found = first_problem(error, type(self), values)
                key = format_path(found.path)
                raise InvalidPreset("Preset(...)", found.problem, key=key, expected=found.expected) from None

        # A mark for pydantic: during validation it does not call this __init__.
        __init__.__pydantic_base_init__ = True

    @model_validator(mode="after")
    def _check_constraints(self) -> Self:
        found = (_constraint_violations(self), *(part.problems(self) for part in self.parts))
        for problem in chain.from_iterable(found):
            raise problem
        return self

    @property
    def parts(self) -> tuple[Part, ...]:
        """The stages of the preset, then its way to conclude."""
        stages = (stages.of(self) for stages in (*BEFORE_LAYERS, *AFTER_LAYER))
        return (*(stage for stage in stages if stage is not None), self.conclude)

    @property
    def compares_answers(self) -> bool:
        """Whether one of its parts compares the short answers of drafts."""
        return any(part.compares_answers for part in self.parts)

    @property
    def slots(self) -> tuple[Slot, ...]:
        """The slots of a layer, one per sample: an entry with `samples: 3` appears three times."""
        return tuple(slot for slot in self.proposers for _ in range(slot.samples))

    @property
    def models(self) -> tuple[str, ...]:
        """Every model id that a run may call, without duplicates, the fallbacks last."""
        return tuple(dict.fromkeys((*self.required_models, *self.aggregator.fallbacks)))

    @property
    def required_models(self) -> tuple[str, ...]:
        """The model ids that the preset needs: all except the fallbacks."""
        slots = (model for slot in self.proposers for model in slot.models) if self.layers > 1 else ()
        asked = (model for part in self.parts for model in part.models)
        return tuple(dict.fromkeys((*slots, self.aggregator.model, *asked)))

    @property
    def slots_in_words(self) -> str:
        """The number of slots in a layer as text, for errors about too few slots."""
        return f"a layer has only {len(self.slots)} slot{'s' if len(self.slots) != 1 else ''}"


def _min_or_none(a: Number | None, b: Number | None) -> Number | None:
    return min((n for n in (a, b) if n is not None), default=None)


def _constraint_violations(preset: Preset) -> Iterator[PydanticCustomError]:
    """Yield an error for each combination of values that makes a preset invalid, regardless of its stages."""
    slots = len(preset.slots)
    if preset.layers > 1 and not slots:
        yield constraint_error("a preset of more than one layer needs proposers", "at least one model", "proposers")
    for key, count in (("min_drafts", preset.min_drafts), ("require_drafts", preset.require_drafts)):
        if preset.layers > 1 and count > slots:
            problem = f"{key} is {count}, but {preset.slots_in_words}"
            yield constraint_error(problem, f"at most {slots}", key)
