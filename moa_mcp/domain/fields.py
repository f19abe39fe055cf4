"""The types of a preset's fields, and the base class of all its parts."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints
from pydantic_core import PydanticCustomError

MODEL_ID_PATTERN = r"^[a-z0-9][a-z0-9_-]*/\S+$"

ModelId = Annotated[str, StringConstraints(pattern=MODEL_ID_PATTERN, max_length=200)]
"""`provider/model`, split at the first slash; the model part may contain more slashes."""

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]
"""The name of a preset: safe in a file name, in a URI and on a command line."""

PromptText = Annotated[str, StringConstraints(min_length=1, max_length=20_000)]
Temperature = Annotated[float, Field(ge=0, le=2)]
Share = Annotated[float, Field(ge=0, le=1)]
Seconds = Annotated[float, Field(gt=0, le=3600)]
Count = Annotated[int, Field(ge=1, le=64)]
PromptStyle = Literal["auto", "fenced", "tagged", "paper"]


def constraint_error(problem: str, expected: str, *place: str) -> PydanticCustomError:
    """Make the error for values that are valid alone but not together. `place` is the path of the key to fix."""
    return PydanticCustomError(
        "impossible", "{problem}. Expected {expected}", {"problem": problem, "expected": expected, "place": place}
    )


class StrictModel(BaseModel):
    """Base class of all parts of a preset. It is immutable, and unknown keys are errors.

    Validators are built when the first preset is read, not when the server starts (`defer_build`).
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
        defer_build=True,
        serialize_by_alias=True,
        allow_inf_nan=False,
    )


class ModelSettings(StrictModel):
    """How one model is asked. What is unset is not sent, so the provider's own default holds."""

    model: ModelId = Field(description="The model, written provider/model, for example openai/gpt-5.5.")
    temperature: Temperature | None = Field(
        default=None, description="How much the replies vary. Unset: not sent, the provider's own default holds."
    )
    max_tokens: Annotated[int, Field(ge=1, le=1_000_000)] | None = Field(
        default=None,
        description="The most tokens of one reply, reasoning included. Unset: not sent, the provider's limit holds.",
    )
    effort: Annotated[str, StringConstraints(pattern=r"^[a-z]{1,16}$")] | None = Field(
        default=None,
        description="How hard the model reasons, in the provider's words, for example low or high. Unset: not sent.",
    )
    timeout_seconds: Seconds | None = Field(default=None, description="Seconds until one call is given up. Unset: 180.")
    role: PromptText | None = Field(
        default=None, description="A system text for this model alone, for example: You check units."
    )


def from_id(value: Any) -> Any:
    """Turn a model id into a mapping that sets only the model."""
    return {"model": value} if isinstance(value, str) else value


ModelSettingsOrId = Annotated[ModelSettings, BeforeValidator(from_id, json_schema_input_type=ModelId | ModelSettings)]
"""A model with its settings, or its id alone."""
