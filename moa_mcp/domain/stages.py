"""The base classes of the parts of a preset: stages, ways to conclude, and methods in slots.

Each variant is a file under `flows/` with its spec (a class derived from one of these) and its function, and it
registers both here. A stage that calls a model names it in `model`; the default is the preset's aggregator.
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
    """Base class of all variants, with defaults that suit most of them."""

    compares_answers: ClassVar[bool] = False
    """Whether it compares the short answers of drafts. Their writers are then asked to state them in a closing line."""

    @property
    def models(self) -> tuple[str, ...]:
        """The ids of the models that it needs: by default the models in its fields."""
        return tuple(value.model for _, value in self if isinstance(value, ModelSettings))

    @property
    def details(self) -> str:
        """Its settings on one line, named by their keys."""
        return describe(self) or "on"

    def problems(self, preset: Preset) -> Iterator[PydanticCustomError]:
        """Yield an error for each reason why it cannot work in `preset`, although its own values are valid."""
        return iter(())


class RolesSpec(Part):
    """Gives each slot of a panel its own role before the first layer."""


class RouteSpec(Part):
    """Chooses, before the first layer, which proposers or which model to call."""

    chooses_slots: ClassVar[bool] = False
    """Whether it leaves out slots. The order of the slots then affects the number of calls of a run."""

    share_of_time: ClassVar[float | None] = None
    """The share of the run's time, from 0 to 1, after which it has ended. None: as much as the longest route has."""

    @property
    def copy_similarity(self) -> float | None:
        """How alike, from 0 to 1, two drafts of the first layer are if one is replaced by a slot of the reserve.

        None: no draft is replaced.
        """
        return None

    @property
    def reads_question(self) -> bool:
        """Whether it decides only by the words of the question, without a model."""
        return False


class ScreenSpec(Part):
    """Chooses, after a layer of proposers, which drafts the next layer reads."""


class ResidualSpec(Part):
    """Passes the changes from one layer to the next on to the following layer."""


class StopSpec(Part):
    """Ends the layers early."""


class ConcludeSpec(Part):
    """Makes the answer from the last drafts."""

    works_without_drafts: ClassVar[bool] = False
    """Whether it can answer if every proposer of the first layer failed."""

    merges_layers: ClassVar[bool] = False
    """Whether each layer is aggregated when residuals are on, so that an answer remains if a later layer fails."""

    shares_messages: ClassVar[bool] = False
    """Whether the aggregator's messages begin as those of the proposers, so that it may read their prompt cache."""

    drafts_end: ClassVar[float | None] = None
    """The share of the run's time by which the drafts have to be there. None: as if an aggregator had to write."""

    def task_for_proposers(self, task: Task) -> Task:
        """Return the task that the proposers get."""
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
        """The ids of the models that it needs."""
        return self.model, *(value.model for _, value in self if isinstance(value, ModelSettings))

    @property
    def details(self) -> str:
        """Its settings on one line, named by their keys."""
        return describe(self)


ROLES = Variants("roles", RolesSpec, None, "moa_mcp.flows.stages")
ROUTES = Variants("route", RouteSpec, "by", "moa_mcp.flows.route")
SCREENS = Variants("screen", ScreenSpec, "by", "moa_mcp.flows.screen")
RESIDUALS = Variants("residual", ResidualSpec, None, "moa_mcp.flows.stages")
STOPS = Variants("stop", StopSpec, "by", "moa_mcp.flows.stages")
CONCLUDES = Variants("conclude", ConcludeSpec, "by", "moa_mcp.flows.conclude")
SLOT_METHODS = Variants("slot", SlotMethod, "method", "moa_mcp.flows.slot")

BEFORE_LAYERS: tuple[Variants[Any], ...] = (ROUTES, ROLES)
"""The stages before the first layer, in order: a participant that the route leaves out needs no role."""

AFTER_LAYER: tuple[Variants[Any], ...] = (SCREENS, RESIDUALS, STOPS)
"""The stages after each layer of proposers, in order."""

METHODS: tuple[Variants[Any], ...] = (*BEFORE_LAYERS, *AFTER_LAYER, CONCLUDES, SLOT_METHODS)
"""The registries that an entry point `moa_mcp.methods` can add to."""


def describe(entry: StrictModel, *leave_out: str) -> str:
    """Describe the settings of a preset's entry by their keys: "keep 3, model openai/x"."""
    fields = (
        f"{field.alias or name} {_describe_value(value)}"
        for name, field in type(entry).model_fields.items()
        if name not in leave_out and name in entry.model_fields_set and (value := getattr(entry, name)) is not None
    )
    return ", ".join(fields)


def describe_model(settings: ModelSettings, *leave_out: str) -> str:
    """Describe a model by its id and settings: "openai/x  (temperature 0.7)"."""
    text = describe(settings, "model", *leave_out)
    return f"{settings.model}  ({text})" if text else settings.model


def _describe_value(value: Any) -> str:
    if isinstance(value, ModelSettings):
        return describe_model(value)
    if isinstance(value, tuple):
        return " + ".join(map(_describe_value, cast("Sequence[Any]", value)))
    return one_line(str(value), 60)
