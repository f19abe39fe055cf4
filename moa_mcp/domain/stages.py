"""What the parts of a preset have in common: the stages, the ways to conclude, and what fills a slot.

Each variant is a file under `flows/`, which holds its spec (a model derived from one of these) and its function,
and registers both here. A stage that asks a model of its own names it in `model`; left out, it is the preset's
aggregator.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, cast

from pydantic_core import PydanticCustomError

from moa_mcp.domain.fields import ModelSettings, StrictModel
from moa_mcp.domain.text import one_line
from moa_mcp.domain.variants import Variants

if TYPE_CHECKING:
    from moa_mcp.domain.model import Task
    from moa_mcp.domain.preset import Preset


class Part(StrictModel):
    """Base of all variants: what follows from one is asked of it, with defaults that suit most."""

    @property
    def models(self) -> tuple[str, ...]:
        """The ids of the models without which it does not work: by default those in its own fields."""
        return tuple(value.model for _, value in self if isinstance(value, ModelSettings))

    @property
    def details(self) -> str:
        """What it says, on one line, in the words of its keys."""
        return describe(self) or "on"

    def problems(self, preset: Preset) -> Iterator[PydanticCustomError]:
        """Why it cannot work in `preset`, though each of its values is right by itself."""
        return iter(())


class RolesSpec(Part):
    """Gives each slot of a panel something of its own before the first layer."""


class RouteSpec(Part):
    """Chooses, before the first layer, who is asked."""

    chooses_slots: ClassVar[bool] = False
    """Whether it leaves slots out; their order then decides how many calls a run makes."""

    @property
    def reads_question(self) -> bool:
        """Whether the words of the question alone decide, without a model."""
        return False


class ScreenSpec(Part):
    """Chooses, after a layer of proposers, which of its drafts are passed on."""


class ResidualSpec(Part):
    """Passes on what changed from one layer to the next."""


class StopSpec(Part):
    """Ends the layers early."""


class ConcludeSpec(Part):
    """Makes the answer of the last drafts."""

    works_without_drafts: ClassVar[bool] = False
    """Whether it answers even where every proposer of the first layer failed."""

    merges_layers: ClassVar[bool] = False
    """Whether, with residuals, each layer is aggregated so that a good answer remains if a later one fails."""

    def task_for_proposers(self, task: Task) -> Task:
        """The task as the proposers see it."""
        return task


class SlotMethod(ModelSettings):
    """A method that writes a draft in the place of a single call of `model`."""

    samples: ClassVar[int] = 1
    skills: ClassVar[tuple[str, ...]] = ()

    @property
    def label(self) -> str:
        return self.model

    @property
    def models(self) -> tuple[str, ...]:
        """The ids of the models without which it does not work."""
        return self.model, *(value.model for _, value in self if isinstance(value, ModelSettings))

    @property
    def details(self) -> str:
        """What it says, on one line, in the words of its keys."""
        return describe(self)


ROLES = Variants("roles", RolesSpec, None, "moa_mcp.flows.stages")
ROUTES = Variants("route", RouteSpec, "by", "moa_mcp.flows.route")
SCREENS = Variants("screen", ScreenSpec, "by", "moa_mcp.flows.screen")
RESIDUALS = Variants("residual", ResidualSpec, None, "moa_mcp.flows.stages")
STOPS = Variants("stop", StopSpec, "by", "moa_mcp.flows.stages")
CONCLUDES = Variants("conclude", ConcludeSpec, "by", "moa_mcp.flows.conclude")
SLOT_METHODS = Variants("slot", SlotMethod, "method", "moa_mcp.flows.slot")

METHODS: tuple[Variants[Any], ...] = (ROLES, ROUTES, SCREENS, RESIDUALS, STOPS, CONCLUDES, SLOT_METHODS)
"""Everything that an entry point `moa_mcp.methods` may add to."""


def describe(entry: StrictModel, *leave_out: str) -> str:
    """What an entry of a preset sets, in the words of its keys: "keep 3, model openai/x"."""
    fields = (
        f"{field.alias or name} {_value(value)}"
        for name, field in type(entry).model_fields.items()
        if name not in leave_out and name in entry.model_fields_set and (value := getattr(entry, name)) is not None
    )
    return ", ".join(fields)


def describe_model(settings: ModelSettings, *leave_out: str) -> str:
    """A model's id, with its settings behind it: "openai/x  (temperature 0.7)"."""
    text = describe(settings, "model", *leave_out)
    return f"{settings.model}  ({text})" if text else settings.model


def _value(value: Any) -> str:
    if isinstance(value, ModelSettings):
        return describe_model(value)
    if isinstance(value, tuple):
        return " + ".join(map(_value, cast("Sequence[Any]", value)))
    return one_line(str(value), 60)
