"""JSON Schemas of arguments and results, and validation of arguments with readable errors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from moa_mcp.domain.errors import InvalidRequest, sort_by_closeness
from moa_mcp.domain.text import one_line
from moa_mcp.domain.validation import first_problem, format_path
from moa_mcp.server.wire import fix_json_surrogates


class Arguments(BaseModel):
    """Base of the arguments of a tool. An unknown argument is an error.

    Null and an empty text mean that the argument is not given.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


Model = TypeVar("Model", bound=Arguments)


def read(model: type[Model], given: Mapping[str, Any]) -> Model:
    """Validate the arguments of a call.

    Raises:
        InvalidRequest: an argument is unknown or invalid. The text does not repeat its value.
    """
    if unknown := sorted(set(given) - set(model.model_fields)):
        names = ", ".join(repr(one_line(name, 60)) for name in unknown)
        known = ", ".join(sort_by_closeness(unknown[0], model.model_fields))
        raise InvalidRequest(f"There is no argument {names}. Known, nearest first: {known}.")
    # Several clients send null, or an empty text, for arguments that the model left out.
    given = {
        name: fix_json_surrogates(value)
        for name, value in given.items()
        if value != "" and (value is not None or model.model_fields[name].default is None)
    }
    try:
        return model.model_validate(given)
    except ValidationError as error:
        fault = first_problem(error, model, given)
        expected = f". Expected {fault.expected}" if fault.expected else ""
        raise InvalidRequest(f"Argument {format_path(fault.path)}: {fault.problem}{expected}.") from None


def schema_of_arguments(model: type[Arguments]) -> dict[str, Any]:
    """The JSON Schema of a tool's arguments, with only the keywords that converters in clients support.

    Google's SDK fails on a boolean `additionalProperties` and on exclusive bounds. `read` refuses unknown arguments
    with a better error than a schema gives.
    """
    schema = model.model_json_schema(schema_generator=ArgumentSchema)
    return {"type": "object", "properties": schema["properties"]}


def schema_of_result(*shapes: type[Any]) -> dict[str, Any]:
    """The JSON Schema of a result with one of these shapes, each a TypedDict."""
    schemas = [TypeAdapter(shape).json_schema(schema_generator=_ResultSchema) for shape in shapes]
    return schemas[0] if len(schemas) == 1 else _merge_schemas(schemas)


def _merge_schemas(schemas: list[dict[str, Any]]) -> dict[str, Any]:
    """One object schema for several shapes, for clients without `anyOf`. Only keys of all shapes are required."""
    merged: dict[str, Any] = {"type": "object", "properties": {}, "$defs": {}}
    for schema in schemas:
        merged["properties"] |= schema["properties"]
        merged["$defs"] |= schema.get("$defs", {})
    always = [name for name in merged["properties"] if all(name in schema["required"] for schema in schemas)]
    return {**merged, "required": always}


class _ResultSchema(GenerateJsonSchema):
    """Leaves out titles, because they only repeat the names."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


class ArgumentSchema(_ResultSchema):
    """Leaves null out of the types of optional arguments, because several clients do not support it."""

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def dict_schema(self, schema: core_schema.DictSchema) -> JsonSchemaValue:
        # Declared open: else OpenAI's strict mode allows only an empty object.
        return {**super().dict_schema(schema), "additionalProperties": {}}

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        shown = super().default_schema(schema)
        return {key: value for key, value in shown.items() if (key, value) != ("default", None)}
