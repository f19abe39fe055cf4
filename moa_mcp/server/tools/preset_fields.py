"""The JSON Schema for the fields of a preset as an argument: the schema of Preset, simplified and shortened.

Schema converters in clients follow no references and know few keywords, and every client pays for each token. So
types are inlined, the variants of a key (`conclude` by vote, by pairs, …) are merged into one object with the keys of
all, and only top-level keys have descriptions. Invalid combinations are refused when the preset is saved.

The schema of the built-in variants is kept in `FILE`, which scripts/schemas.py writes: making it loads every method
and takes an eighth of a server's start.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import NoneType
from typing import Any, get_args

from pydantic import GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from moa_mcp.domain.preset import Preset
from moa_mcp.domain.sampling import SAMPLING
from moa_mcp.domain.stages import METHODS
from moa_mcp.server.tools.schema import ArgumentSchema
from moa_mcp.service.configure.compose import SET_BY_A_PERSON, SETTABLE_FIELDS

FILE = Path(__file__).with_suffix(".json")

_OPEN: dict[str, Any] = {"type": "object", "additionalProperties": {}}
"""A mapping with any keys."""

_NOT_LISTED = SET_BY_A_PERSON | set(SAMPLING)
"""Keys that may not be set over MCP, and those that may but are rarely set, so that not every client pays for them."""

_SHOWN = ("type", "enum")
_SHOWN_OF_FIELDS = (*_SHOWN, "minimum", "maximum", "maxLength", "maxItems")


class PresetFieldsSchema:
    """Annotation for an argument with fields of a preset. It builds the schema on demand, not at import."""

    def __get_pydantic_json_schema__(self, _: CoreSchema, __: GetJsonSchemaHandler) -> JsonSchemaValue:
        if any(registry.is_extended for registry in METHODS):
            return preset_fields_schema()
        schema: JsonSchemaValue = json.loads(FILE.read_text("utf-8"))
        return schema


def preset_fields_schema() -> dict[str, Any]:
    """The JSON Schema of a mapping of fields of a preset, without references."""
    whole = Preset.model_json_schema(schema_generator=ArgumentSchema)
    fields = {name: whole["properties"][name] for name in SETTABLE_FIELDS}
    shown = {name: _field(name, schema, whole["$defs"]) for name, schema in fields.items()}
    # Open, because OpenAI's strict mode requires all keys of a closed mapping.
    return {**_OPEN, "properties": shown}


def _field(name: str, schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> dict[str, Any]:
    shapes = _inline(schema, definitions, _SHOWN_OF_FIELDS)
    if NoneType in get_args(Preset.model_fields[name].annotation):  # else clients that validate would not send null
        shapes.append({"type": "null"})
    return {"description": schema["description"], **_any_of(shapes)}


def _inline(
    schema: Mapping[str, Any], definitions: Mapping[str, Any], shown: tuple[str, ...], *, is_open: bool = False
) -> list[dict[str, Any]]:
    """The allowed shapes of a value: any number of scalars and lists, and at most one mapping."""
    choices = list(_choices(schema, definitions))
    mappings = [choice for choice in choices if choice.get("type") == "object"]
    plain = [_scalar(choice, definitions, shown) for choice in choices if choice.get("type") != "object"]
    if mappings:
        plain.append(_OPEN if is_open else _merge(mappings, definitions))
    return plain


def _any_of(shapes: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return shapes[0] if len(shapes) == 1 else {"anyOf": list(shapes)}


def _choices(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    if reference := schema.get("$ref"):
        yield from _choices(definitions[reference.rpartition("/")[2]], definitions)
    elif several := schema.get("anyOf") or schema.get("oneOf"):
        for one in several:
            yield from _choices(one, definitions)
    else:
        yield schema


def _scalar(schema: Mapping[str, Any], definitions: Mapping[str, Any], shown: tuple[str, ...]) -> dict[str, Any]:
    items = {"items": _any_of(_inline(schema["items"], definitions, _SHOWN))} if "items" in schema else {}
    return {key: schema[key] for key in shown if key in schema} | items


def _merge(mappings: Sequence[Mapping[str, Any]], definitions: Mapping[str, Any]) -> dict[str, Any]:
    """One mapping with the keys of all. The key that names the variant becomes an enum of all variants."""
    kinds: dict[str, dict[str, Any]] = {}
    found: dict[str, dict[str, Any]] = {}
    for mapping in sorted(mappings, key=_kind):  # the schema must not depend on the order of declaration
        for name, part in mapping["properties"].items():
            if "const" in part:
                kinds.setdefault(name, {"type": "string", "enum": []})["enum"].append(part["const"])
            elif name not in _NOT_LISTED:
                found.setdefault(name, _any_of(_inline(part, definitions, _SHOWN, is_open=True)))
    return {"type": "object", "properties": kinds | found}


def _kind(mapping: Mapping[str, Any]) -> str:
    return next((part["const"] for part in mapping["properties"].values() if "const" in part), "")
