"""The types of a preset's fields, and the base class of all its parts."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    StringConstraints,
    WithJsonSchema,
)
from pydantic_core import PydanticCustomError

from moa_mcp.domain.sampling import SAMPLING, UNSET, FrozenDict, Sampling

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


SET_ELSEWHERE = ("model", "messages", "stream", "n", "max_tokens", "max_completion_tokens", "tools")
"""The keys of a request that `extra_body` may not have: its limits, prices and replies depend on them."""


def _check_extra_body(body: FrozenDict[Any]) -> FrozenDict[Any]:
    for key in SET_ELSEWHERE:
        if key in body:
            raise constraint_error("extra_body may not have this key, moa-mcp sets it", "any other key", key)
    return body


JsonObject = Annotated[FrozenDict[JsonValue], WithJsonSchema({"type": "object"})]
"""Any JSON object."""

ExtraBody = Annotated[JsonObject, AfterValidator(_check_extra_body)]
"""Keys that are merged into a request as they are."""

_Stop = Annotated[str, StringConstraints(min_length=1, max_length=200)]


def _as_list(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


class _Reply(StrictModel):
    """What a model is asked for, in the words of all providers."""

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


class SamplingSettings(StrictModel):
    """Settings that not every provider knows. What is unset is not sent; what a model refuses is left out and noted."""

    top_p: Annotated[float, Field(gt=0, le=1)] | None = Field(
        default=None,
        description="Only the likeliest tokens whose chances add up to this are drawn from. Unset: not sent.",
    )
    top_k: Annotated[int, Field(ge=1, le=1_000_000)] | None = Field(
        default=None, description="Only this many of the likeliest tokens are drawn from. Unset: not sent."
    )
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = Field(
        default=None, description="Where the provider's randomness begins; the same seed may give the same reply."
    )
    stop: (
        Annotated[
            tuple[_Stop, ...],
            BeforeValidator(_as_list, json_schema_input_type=_Stop | tuple[_Stop, ...]),
            Field(min_length=1, max_length=16),
        ]
        | None
    ) = Field(default=None, description="A text, or a list of texts, at which the reply ends. Unset: not sent.")
    thinking: bool | Annotated[int, Field(ge=1, le=1_000_000)] | None = Field(
        default=None,
        description="Whether the model thinks before it answers, or the most tokens that it thinks with; sent in the "
        "provider's own form. Unset: not sent.",
    )
    response_format: JsonObject | None = Field(
        default=None, description="The form of the reply, as in OpenAI's API, for example {type: json_object}."
    )
    extra_body: ExtraBody | None = Field(
        default=None,
        description="Further keys of the request, in the provider's words, merged deep. Only in files, never over MCP.",
    )

    @property
    def sampling(self) -> Sampling | None:
        """The settings as a value for calls; None if all are unset."""
        given: dict[str, Any] = {name: getattr(self, name) for name in self.model_fields_set.intersection(SAMPLING)}
        sampling = Sampling(**given) if given else UNSET
        return None if sampling == UNSET else sampling


class ModelSettings(SamplingSettings, _Reply):
    """How one model is asked. What is unset is not sent, so the provider's own default holds."""


def from_id(value: Any) -> Any:
    """Turn a model id into a mapping that sets only the model."""
    return {"model": value} if isinstance(value, str) else value


ModelSettingsOrId = Annotated[ModelSettings, BeforeValidator(from_id, json_schema_input_type=ModelId | ModelSettings)]
"""A model with its settings, or its id alone."""
