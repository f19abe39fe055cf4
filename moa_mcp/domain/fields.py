"""The kinds of value that a preset's fields may have, and the base of all its parts."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints
from pydantic_core import PydanticCustomError

ModelId = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]*/\S+$", max_length=200)]
"""`provider/model`, split at the first slash: the model part may hold slashes of its own."""

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]
"""The name of a preset: safe as a file name, as a part of a URI and on a command line."""

PromptText = Annotated[str, StringConstraints(min_length=1, max_length=20_000)]
Temperature = Annotated[float, Field(ge=0, le=2)]
Share = Annotated[float, Field(ge=0, le=1)]
Seconds = Annotated[float, Field(gt=0, le=3600)]
Count = Annotated[int, Field(ge=1, le=64)]
PromptStyle = Literal["fenced", "paper"]


def constraint_error(problem: str, expected: str, *place: str) -> PydanticCustomError:
    """What a validator raises of values that each are right and together are not: `place` is the key to mend."""
    return PydanticCustomError(
        "impossible", "{problem}. Expected {expected}", {"problem": problem, "expected": expected, "place": place}
    )


class StrictModel(BaseModel):
    """Base of all that a preset says: immutable, and a key it does not know is an error.

    Validators are built when the first preset is read, not when the server starts.
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

    model: ModelId
    temperature: Temperature | None = None
    max_tokens: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    effort: Annotated[str, StringConstraints(pattern=r"^[a-z]{1,16}$")] | None = None
    timeout_seconds: Seconds | None = None
    role: PromptText | None = None


def from_id(value: Any) -> Any:
    """A model id alone means a mapping that sets nothing but the model."""
    return {"model": value} if isinstance(value, str) else value


ModelSettingsOrId = Annotated[ModelSettings, BeforeValidator(from_id)]
"""A model with its settings, or its id alone."""
