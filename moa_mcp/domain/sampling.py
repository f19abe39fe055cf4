"""The settings of a call that most calls leave unset: sampling, thinking, the form of the reply, and further keys."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from types import GenericAlias
from typing import TYPE_CHECKING, Any, TypeVar, cast, get_args

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

if TYPE_CHECKING:
    from moa_mcp.domain.model import ChatCall

Value = TypeVar("Value")


class FrozenDict(dict[str, Value]):
    """A mapping that nobody changes. It has a hash, so that frozen values can hold it and still be keys."""

    def __hash__(self) -> int:  # type: ignore[override]  # a dict has none
        return hash(frozenset(self))

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        plain = handler.generate_schema(GenericAlias(dict, (str, *get_args(source))))
        return core_schema.no_info_after_validator_function(cls, plain)


def merge(under: Mapping[str, Any], over: Mapping[str, Any]) -> FrozenDict[Any]:
    """`under` with the values of `over`; where both hold a mapping, the two are merged in the same way."""
    merged = FrozenDict[Any](under)
    for key, value in over.items():
        both = isinstance(merged.get(key), Mapping) and isinstance(value, Mapping)
        merged[key] = merge(merged[key], cast("Mapping[str, Any]", value)) if both else value
    return merged


@dataclass(frozen=True, slots=True)
class Sampling:
    """What is None is not sent. `thinking` is on, off, or the most tokens to think with.

    `response_format` has OpenAI's form. `extra_body` is merged into the request as it is, in the service's own words.
    """

    top_p: float | None = None
    top_k: int | None = None
    seed: int | None = None
    stop: tuple[str, ...] | None = None
    thinking: bool | int | None = None
    response_format: FrozenDict[Any] | None = None
    extra_body: FrozenDict[Any] | None = None

    def over(self, defaults: Sampling) -> Sampling:
        """These settings, and those of `defaults` for what is unset here; the extra bodies are merged."""
        own = {name: value for name in SAMPLING if (value := getattr(self, name)) is not None}
        bodies = merge(defaults.extra_body or {}, self.extra_body or {})
        return replace(defaults, **{**own, "extra_body": bodies or None})


UNSET = Sampling()
"""No setting at all."""

SAMPLING = tuple(field.name for field in fields(Sampling))
"""The names of the settings in `Sampling`."""


def setting_of(call: ChatCall, name: str) -> Any:
    """The value of a call's setting, such as `temperature` or `top_p`; None if it is unset, or no setting of a call."""
    return getattr(call.sampling if name in SAMPLING else call, name, None)


def without_settings(call: ChatCall, *names: str) -> ChatCall:
    """The call with these settings unset."""
    unset: dict[str, Any] = {name: None for name in names if name not in SAMPLING}
    if call.sampling is not None and (sampled := [name for name in names if name in SAMPLING]):
        cleared: dict[str, Any] = dict.fromkeys(sampled)
        unset["sampling"] = replace(call.sampling, **cleared)
    return replace(call, **unset)
