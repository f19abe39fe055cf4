"""The arguments of `moa_configure`: names of presets, and the fields of a preset to save."""

from __future__ import annotations

import json
from typing import Annotated, Any, cast

from pydantic import BeforeValidator, Field

from moa_mcp.domain.preset import Preset
from moa_mcp.server.tools.preset_fields import PresetFieldsSchema
from moa_mcp.server.tools.schema import Arguments

Name = Annotated[str, Field(max_length=64)]


def _parse_fields(value: Any) -> Any:
    """Parse lists and mappings that arrive as JSON text, because several clients send them so."""
    fields = _parse(value)
    if not isinstance(fields, dict):
        return fields
    return {name: value if _is_text(name) else _parse(value) for name, value in cast("dict[str, Any]", fields).items()}


def _parse(value: Any) -> Any:
    if isinstance(value, str) and value.lstrip()[:1] in {"[", "{"}:
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value


def _is_text(name: str) -> bool:
    return name in Preset.model_fields and Preset.model_fields[name].annotation is str


class ConfigureArguments(Arguments):
    """The arguments of moa_configure. `compose` checks the fields of the preset."""

    default_preset: Name | None = Field(default=None, description="Make this preset the default.")
    save_preset: Name | None = Field(
        default=None,
        description="Save a preset under this name: lower-case letters, digits, - and _. It is `base` "
        "with `fields` set; what is not given stays as in base.",
    )
    base: Name | None = Field(
        default=None, description="The preset to begin from; by default the one that is saved over, if there is one."
    )
    fields: Annotated[dict[str, Any] | None, BeforeValidator(_parse_fields), PresetFieldsSchema()] = Field(
        default=None,
        description="With save_preset: the keys of the preset to set. Null removes a key, its default then holds.",
    )
    delete_preset: Name | None = Field(
        default=None, description="Delete this preset of the user; a built-in one of that name comes back."
    )
    undo: bool = Field(default=False, description="Take the last change back. Goes with dry_run and revision alone.")
    dry_run: bool = Field(default=False, description="Check the change and show its diff; write nothing.")
    revision: int | None = Field(
        default=None, ge=0, description="The revision you have seen; at any other the change is refused."
    )
