"""Turns pydantic's validation errors into plain messages for the user who wrote the data.

A message never repeats a value, because it may be an API key in the wrong place. `yamlfile.py` adds the file and
line.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias, get_args

from pydantic import BaseModel, StringConstraints, Tag, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from moa_mcp.domain.errors import sort_by_closeness
from moa_mcp.domain.fields import ModelId, Name
from moa_mcp.domain.stages import METHODS
from moa_mcp.domain.text import one_line

KeyPath: TypeAlias = tuple[str | int, ...]
"""The path of a value in data: `("proposers", 0, "model")`."""


@dataclass(frozen=True, slots=True)
class ValidationProblem:
    """One problem in the data, with its path and the expected value."""

    problem: str
    path: KeyPath
    expected: str | None = None


def first_problem(error: ValidationError, model: type[BaseModel], data: Any) -> ValidationProblem:
    """Return the problem to fix first. An unknown key comes first: often it is a missing key, misspelled."""
    details = error.errors(include_url=False, include_input=False)
    detail = next((one for one in details if one["type"] == "extra_forbidden"), details[0])
    kind, path = detail["type"], _place(detail["loc"], data)
    if kind == "extra_forbidden":
        return _unknown_key_problem(path, known_keys(model, detail["loc"]))
    if kind == "missing":
        return ValidationProblem("this key is missing", (*path, detail["loc"][-1]))
    if kind == "impossible":
        context = detail.get("ctx", {})
        return ValidationProblem(
            context["problem"], _place((*detail["loc"], *context["place"]), data), context["expected"]
        )
    if kind == "value_error":
        return ValidationProblem(detail["msg"].removeprefix("Value error, "), path)
    return ValidationProblem("this value does not fit", path, _expected(detail))


def format_path(path: KeyPath) -> str:
    """Format a path as text: `proposers[0].model`."""
    parts = (f"[{part}]" if isinstance(part, int) else f".{one_line(part, 60)}" for part in path)
    return "".join(parts).removeprefix(".")


def known_keys(model: type[BaseModel], path: KeyPath) -> list[str]:
    """Return the keys that `model` allows at the last part of `path`.

    `path` comes from pydantic: after each choice between several models it names the chosen one.
    """
    found: list[type[BaseModel]] = [model]
    choices: list[_Choice] = []
    for part in map(str, path[:-1]):
        if chosen := [one for tag, one in choices if part in (tag, *_literals(one))]:
            found, choices = chosen, []
        elif fields := [one.model_fields[part] for one in found if part in one.model_fields]:
            choices = list(_choices_of(fields[0])) or choices
            found = [one for _, one in choices] or found
    return list(dict.fromkeys(key for one in found for key in _spellings(one)))


def _unknown_key_problem(path: KeyPath, known: list[str]) -> ValidationProblem:
    name = one_line(str(path[-1]), 60)
    ranked = sort_by_closeness(name, known)
    meant = _ALSO_CALLED.get(name, "")
    if meant in known or "." in meant:
        ranked = [meant]
    return ValidationProblem(
        f"unknown key {name!r} (did you mean {ranked[0]!r}?)", path, f"one of {', '.join(sorted(known))}"
    )


_ALSO_CALLED = {
    "api_base": "base_url",
    "api_key": "api_key_env",
    "api_version": "query",
    "ca_bundle": "ca_file",
    "custom_llm_provider": "dialect",
    "default_headers": "headers",
    "default_query": "query",
    "extra_headers": "headers",
    "extra_query": "query",
    "free": "local",
    "input_cost_per_token": "input_mtok",
    "max_completion_tokens": "max_tokens",
    "max_parallel_requests": "max_concurrency",
    "output_cost_per_token": "output_mtok",
    "price": "prices",
    "pricing": "prices",
    "proxies": "network.use_proxy_env",
    "proxy": "network.use_proxy_env",
    "reasoning_effort": "effort",
    "enable_thinking": "thinking",
    "request_timeout": "timeout_seconds",
    "ssl_verify": "ca_file",
    "stop_sequences": "stop",
    "streaming": "stream",
    "timeout": "first_token_seconds",
    "verify": "ca_file",
}
"""The keys of the OpenAI SDK, LiteLLM and others, with the key that means the same here."""


def _place(location: KeyPath, data: Any) -> KeyPath:
    """Return the parts of `location` that are in the data, without the names of choices that pydantic adds."""
    path: list[str | int] = []
    for part in location:
        try:
            data = data[part]
        except (LookupError, TypeError):
            continue
        path.append(part)
    return tuple(path)


def _expected(detail: ErrorDetails) -> str:
    context = detail.get("ctx", {})
    if detail["type"] == "string_pattern_mismatch":
        return _FORMS.get(context["pattern"], f"text of the form {context['pattern']}")
    if detail["type"] == "union_tag_invalid":
        return f"{context['discriminator']} to be one of {context['expected_tags']}"
    if detail["type"] == "union_tag_not_found":
        return f"a key {context['discriminator']} that says which kind it is"
    wish = detail["msg"].partition(" should ")[2] or detail["msg"]
    return _SHAPES.get(detail["type"], wish.removeprefix("be ").removeprefix("have "))


def _pattern(annotated: Any) -> str:
    return next(str(part.pattern) for part in get_args(annotated) if isinstance(part, StringConstraints))


_FORMS = {
    _pattern(ModelId): "provider/model, as in openai/gpt-5.5",
    _pattern(Name): "a name of lower-case letters, digits, - and _",
}
_SHAPES: dict[str, str] = {
    "model_type": "keys with values",
    "model_attributes_type": "keys with values",
    "dict_type": "keys with values",
    "tuple_type": "a list",
    "list_type": "a list",
}

_Choice: TypeAlias = tuple[str | None, type[BaseModel]]


def _choices(annotation: Any, tag: str | None = None) -> Iterator[_Choice]:
    """Yield the models that a value of this type may be, each with the tag of its choice."""
    for registry in METHODS:
        if registry is annotation:
            yield from registry.all().items()
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield tag, annotation
    parts = get_args(annotation)
    tag = next((part.tag for part in parts if isinstance(part, Tag)), tag)
    for part in parts:
        yield from _choices(part, tag)


def _choices_of(field: FieldInfo) -> Iterator[_Choice]:
    yield from _choices(field.annotation)
    for mark in field.metadata:
        yield from _choices(mark)


def _literals(model: type[BaseModel]) -> tuple[Any, ...]:
    return tuple(word for field in model.model_fields.values() for word in get_args(field.annotation))


def _spellings(model: type[BaseModel]) -> list[str]:
    return [field.alias or name for name, field in model.model_fields.items()]
