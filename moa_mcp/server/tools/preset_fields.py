"""The fields of a preset as an argument: Preset's own JSON Schema, made small and plain.

Converters in clients follow no references and know few keywords, and every client pays for each word: so what a
value may be is written out in place, kinds of one key (`conclude` by vote, by pairs, …) are one object with the
keys of all, and only the preset's own keys are described. What does not fit together is refused when it is saved.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import NoneType
from typing import Any, get_args

from pydantic import GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from moa_mcp.domain.preset import Preset
from moa_mcp.server.tools.schema import ArgumentSchema
from moa_mcp.service.configure.compose import SET_BY_A_PERSON, SETTABLE_FIELDS

_OPEN: dict[str, Any] = {"type": "object", "additionalProperties": {}}
"""A mapping whose keys are not shown."""

_SHOWN = ("type", "enum")
_SHOWN_OF_FIELDS = (*_SHOWN, "minimum", "maximum", "maxLength", "maxItems")


class PresetFieldsSchema:
    """Marks an argument that holds fields of a preset. Its schema is made when it is asked for, not at the start."""

    def __get_pydantic_json_schema__(self, _: CoreSchema, __: GetJsonSchemaHandler) -> JsonSchemaValue:
        return preset_fields_schema()


def preset_fields_schema() -> dict[str, Any]:
    """The JSON Schema of a mapping of fields of a preset, without references."""
    whole = Preset.model_json_schema(schema_generator=ArgumentSchema)
    fields = {name: whole["properties"][name] for name in SETTABLE_FIELDS}
    shown = {name: _field(name, schema, whole["$defs"]) for name, schema in fields.items()}
    # Open: in OpenAI's strict mode all keys of a closed mapping would have to be given.
    return {**_OPEN, "properties": shown}


def _field(name: str, schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> dict[str, Any]:
    shapes = _plain(schema, definitions, _SHOWN_OF_FIELDS)
    if NoneType in get_args(Preset.model_fields[name].annotation):  # validating clients would not send it otherwise
        shapes.append({"type": "null"})
    return {"description": schema["description"], **_either(shapes)}


def _plain(
    schema: Mapping[str, Any], definitions: Mapping[str, Any], shown: tuple[str, ...], *, is_open: bool = False
) -> list[dict[str, Any]]:
    """What a value may be: any number of scalars and lists, and at most one mapping."""
    choices = list(_choices(schema, definitions))
    mappings = [choice for choice in choices if choice.get("type") == "object"]
    plain = [_scalar(choice, definitions, shown) for choice in choices if choice.get("type") != "object"]
    if mappings:
        plain.append(_OPEN if is_open else _merged(mappings, definitions))
    return plain


def _either(shapes: Sequence[dict[str, Any]]) -> dict[str, Any]:
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
    items = {"items": _either(_plain(schema["items"], definitions, _SHOWN))} if "items" in schema else {}
    return {key: schema[key] for key in shown if key in schema} | items


def _merged(mappings: Sequence[Mapping[str, Any]], definitions: Mapping[str, Any]) -> dict[str, Any]:
    """One mapping with the keys of all; a key that only says which kind it is has the kinds to choose from."""
    kinds: dict[str, dict[str, Any]] = {}
    found: dict[str, dict[str, Any]] = {}
    for mapping in sorted(mappings, key=_kind):  # which was declared first must not show
        for name, part in mapping["properties"].items():
            if "const" in part:
                kinds.setdefault(name, {"type": "string", "enum": []})["enum"].append(part["const"])
            elif name not in SET_BY_A_PERSON:
                found.setdefault(name, _either(_plain(part, definitions, _SHOWN, is_open=True)))
    return {"type": "object", "properties": kinds | found}


def _kind(mapping: Mapping[str, Any]) -> str:
    return next((part["const"] for part in mapping["properties"].values() if "const" in part), "")
