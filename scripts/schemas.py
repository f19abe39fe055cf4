"""Writes the JSON Schemas of presets and config.yaml, for editors and for moa_configure, and their reference pages.

The contents come from the descriptions, types and bounds of the fields. `python scripts/schemas.py` writes the files;
tests/test_reference.py fails if one of them is out of date.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, cast

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema

from moa_mcp.config import yamlfile
from moa_mcp.config.settings import ConfigFile
from moa_mcp.domain.endpoints import BUILTIN
from moa_mcp.domain.fields import MODEL_ID_PATTERN
from moa_mcp.domain.preset import Preset
from moa_mcp.presets.auto import AutoPreset
from moa_mcp.presets.hermes import HermesPreset
from moa_mcp.presets.library import SCHEMA_FILE, PresetLibrary
from moa_mcp.server.tools import preset_fields

ROOT = Path(__file__).parents[1]
DIALECT = "https://json-schema.org/draft/2020-12/schema"
LIBRARY = PresetLibrary(None)
Schema = Mapping[str, Any]

PRESET_PAGE = """\
<!-- Written by scripts/schemas.py from the descriptions in moa_mcp: change them there. -->
# Preset reference

A preset is a YAML file in the presets folder that `moa-mcp doctor` names; the name of the file is the name of the
preset. `moa-mcp presets validate FILE` checks one.

An editor with a YAML language server completes and checks the keys of a file that begins with
`# yaml-language-server: $schema=preset.schema.json`, with that schema in the same folder. It is there beside the
packaged presets and beside those that `moa_configure` saved.

```yaml
title: Three views, twice
description: Two open models and one careful sceptic; a second layer improves on the first.
proposers:
  - openrouter/qwen/qwen3-235b-a22b
  - {model: openrouter/deepseek/deepseek-v4-pro, temperature: 0.7, samples: 2}
  - {model: openrouter/openai/gpt-5.5, role: "You look for what is wrong.", max_tokens: 4096}
layers: 3
aggregator: {model: openrouter/anthropic/claude-opus-4.8, temperature: 0.4, fallbacks: [openrouter/openai/gpt-5.5]}
min_drafts: 2
limits: {max_cost_usd: 0.5, deadline_seconds: 180}
```
"""

CONFIG_PAGE = """\
<!-- Written by scripts/schemas.py from the descriptions in moa_mcp: change them there. -->
# Configuration reference

`config.yaml` is in the folder that `moa-mcp doctor` names: your platform's own, or `$MOA_MCP_HOME`. Every key is
optional. Keys of providers are never in it: they are read from the environment. For editors there is a
[JSON Schema](../schemas/config.schema.json).

```yaml
default_preset: auto
providers:
  lab: {base_url: "http://127.0.0.1:8081/v1", dialect: openai, api_key_env: LAB_KEY, max_concurrency: 4}
limits: {max_calls: 40, max_cost_usd: 1.0, deadline_seconds: 300, max_cost_usd_per_day: 20, max_concurrent_runs: 4}
store: {keep_days: 30, max_mb: 200, enabled: true}
embeddings: openai/text-embedding-3-small
```
"""


class _Schema(GenerateJsonSchema):
    """Omits titles of fields, because they only repeat the names of the keys."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def preset_schema() -> dict[str, Any]:
    """The JSON Schema of a preset file, for all three forms of presets."""
    whole = TypeAdapter[Any](Preset | AutoPreset | HermesPreset).json_schema(schema_generator=_Schema)
    own, auto, hermes = ({"$ref": f"#/$defs/{shape.__name__}"} for shape in (Preset, AutoPreset, HermesPreset))
    rest = {"if": {"required": ["reference_models"]}, "then": hermes, "else": own}
    shape = {"type": "object", "if": {"required": ["candidates"]}, "then": auto, "else": rest}
    return {"$schema": DIALECT, "title": "A preset of moa-mcp", **shape, "$defs": _tidy(whole["$defs"])}


def config_schema() -> dict[str, Any]:
    """The JSON Schema of config.yaml."""
    whole = ConfigFile.model_json_schema(schema_generator=_Schema)
    return {"$schema": DIALECT, **_tidy(whole), "title": "config.yaml of moa-mcp"}


def _tidy(value: Any) -> Any:
    """Put descriptions on one line, sort the kinds, and remove `discriminator`, which is not a JSON Schema keyword."""
    if isinstance(value, dict):
        parts = cast("dict[str, Any]", value).items()
        return {key: _tidy(_sort_kinds(key, part)) for key, part in parts if key != "discriminator"}
    if isinstance(value, list | tuple):
        return [_tidy(part) for part in cast("Sequence[Any]", value)]
    return " ".join(value.split()) if isinstance(value, str) else value


def _sort_kinds(key: str, value: Any) -> Any:
    """Sort the kinds, the model first, so that the files do not depend on the order of declaration."""
    return sorted(value, key=lambda one: ("anyOf" not in one, json.dumps(one))) if key == "oneOf" else value


def preset_page() -> str:
    """The reference of every key of a preset."""
    schema = preset_schema()
    definitions = schema["$defs"]
    sections = [
        PRESET_PAGE,
        "## Keys\n",
        *_table(definitions["Preset"], definitions),
        *_stages(definitions["Preset"], definitions),
        "## A preset that is chosen by the keys at hand\n",
        *_mapping(definitions["AutoPreset"], definitions),
        "### `candidates`\n",
        *_mapping(definitions["Candidate"], definitions),
        "## A preset of Hermes Agent\n",
        *_mapping(definitions["HermesPreset"], definitions),
        "### A model in `reference_models` or `aggregator`\n",
        *_mapping(definitions["HermesSlot"], definitions),
    ]
    return "\n".join(sections)


def config_page() -> str:
    """The reference of every key of config.yaml, and the built-in providers."""
    schema = config_schema()
    providers = (
        f"| `{e.name}` | {f'`{e.base_url}`' if e.base_url else 'none'} | {e.dialect} | "
        f"{f'`{e.api_key_env}`' if e.api_key_env else 'none'} |"
        for e in BUILTIN.values()
    )
    head = ("## Built-in providers\n", "| name | address | dialect | key variable |", "|---|---|---|---|")
    keys = _table(schema, schema["$defs"])
    return "\n".join([CONFIG_PAGE, "## Keys\n", *keys, *_stages(schema, schema["$defs"]), *head, *providers, ""])


def _as_json(value: Any) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"


def _stages(schema: Schema, definitions: Schema) -> Iterator[str]:
    """Yield a section for each key whose value is a mapping."""
    for key, part in schema["properties"].items():
        named = (shape for one in _choices(part, definitions) for shape in one.get("patternProperties", {}).values())
        entries = part.get("items") or next(named, part)
        for place, shape in enumerate(_mappings(entries, definitions)):
            if place == 0:
                yield f"## `{key}`\n"
                yield f"{part['description']}\n"
            if kind := _kind(shape):
                yield f"### `{key}`: `{kind[0]}: {kind[1]}`\n"
            elif "preset" in shape["properties"]:
                yield f"### `{key}`: another preset\n"
            yield from _mapping(shape, definitions)
            yield from _example(key, shape)


def _mapping(shape: Schema, definitions: Schema) -> Iterator[str]:
    yield f"{shape['description']}\n"
    yield from _table(shape, definitions)


def _table(shape: Schema, definitions: Schema) -> Iterator[str]:
    rows = [(key, part) for key, part in shape["properties"].items() if "const" not in part]
    if rows:
        yield "| key | value | default | what it says |\n|---|---|---|---|"
    for key, part in rows:
        default = "required" if key in shape.get("required", ()) else _default(part.get("default"))
        cells = (f"`{key}`", _type(part, definitions), default, part["description"])
        yield f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |"
    if rows:
        yield ""


def _example(key: str, shape: Schema) -> Iterator[str]:
    """An example of this kind from a packaged preset, or else its required keys only."""
    if (kind := _kind(shape)) is None:
        return
    used = ((name, value) for name, data in _packaged() for value in _values(data.get(key)) if _is(kind, value))
    name, value = next(used, (None, _minimal_example(shape)))
    yield f"As in the preset `{name}`:\n" if name else "For example:\n"
    yield f"```yaml\n{yamlfile.dump({key: [value] if key == 'proposers' else value})}```\n"


@cache
def _packaged() -> Sequence[tuple[str, Schema]]:
    return [(name, LIBRARY.document(name).data) for name in LIBRARY.names()]


def _values(value: Any) -> Sequence[Any]:
    return cast("Sequence[Any]", value) if isinstance(value, list | tuple) else [value]


def _is(kind: tuple[str, str], value: Any) -> bool:
    return isinstance(value, dict) and cast("dict[str, Any]", value).get(kind[0]) == kind[1]


def _minimal_example(shape: Schema) -> dict[str, Any]:
    kind = _kind(shape)
    needed = {key: "openai/gpt-5.5" for key in shape.get("required", ()) if "const" not in shape["properties"][key]}
    return {**({kind[0]: kind[1]} if kind else {}), **needed}


def _kind(shape: Schema) -> tuple[str, str] | None:
    """The key that selects the kind of a mapping, and its value."""
    return next(((key, part["const"]) for key, part in shape["properties"].items() if "const" in part), None)


def _choices(schema: Schema, definitions: Schema) -> Iterator[Schema]:
    several = schema.get("anyOf") or schema.get("oneOf")
    if reference := schema.get("$ref"):
        yield from _choices(definitions[reference.rpartition("/")[2]], definitions)
    elif several:
        for one in several:
            yield from _choices(one, definitions)
    else:
        yield schema


def _mappings(schema: Any, definitions: Schema) -> list[Schema]:
    choices = _choices(cast("Schema", schema), definitions) if isinstance(schema, dict) else ()
    return [choice for choice in choices if "properties" in choice]


def _type(schema: Schema, definitions: Schema) -> str:
    """The type of a value, in words. Null is named only if it is not the default."""
    choices = list(_choices(schema, definitions))
    words = [_one_type(choice, definitions) for choice in choices if choice.get("type") != "null"]
    if len(words) < len(choices) and schema.get("default") is not None:
        words.append("null")
    return " or ".join(dict.fromkeys(words))


def _one_type(schema: Schema, definitions: Schema) -> str:
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    match schema.get("type"):
        case "object" if "properties" not in schema:
            return "mappings by name"
        case "object":
            return "mapping"
        case "array":
            most = f", at most {schema['maxItems']}" if "maxItems" in schema else ""
            return f"list of {_type(schema['items'], definitions)}{most}"
        case "string":
            return _text_type(schema)
        case "boolean":
            return "true or false"
        case "integer" | "number" as kind:
            return ", ".join(filter(None, ["whole number" if kind == "integer" else "number", _bounds(schema)]))
        case _:
            return "anything"


def _text_type(schema: Schema) -> str:
    if schema.get("pattern") == MODEL_ID_PATTERN:
        return "model id"
    most = schema.get("maxLength")
    return f"text, at most {most:,} characters" if most else "word" if "pattern" in schema else "text"


def _bounds(schema: Schema) -> str:
    least, most, above = (schema.get(key) for key in ("minimum", "maximum", "exclusiveMinimum"))
    if least is not None and most is not None:
        return f"{least:,} to {most:,}"
    lower = f"at least {least:,}" if least is not None else f"above {above:,}" if above is not None else ""
    return ", ".join(filter(None, [lower, f"at most {most:,}" if most is not None else ""]))


def _default(value: Any) -> str:
    if isinstance(value, dict):
        value = {key: part for key, part in cast("dict[str, Any]", value).items() if part is not None}
        if len(value) > 1:
            return "those of its keys"
    if value is None or value in ("", [], {}):
        return "none"
    text = yamlfile.dump({"default": value}).strip()  # YAML writes a mapping of scalars in braces
    return f"`{text.removeprefix('{').removeprefix('default: ').removesuffix('}' if text.startswith('{') else '')}`"


FILES = {
    f"presets/{SCHEMA_FILE}": lambda: _as_json(preset_schema()),
    "docs/schemas/config.schema.json": lambda: _as_json(config_schema()),
    preset_fields.FILE.relative_to(ROOT).as_posix(): lambda: _as_json(preset_fields.preset_fields_schema()),
    "docs/reference/presets.md": preset_page,
    "docs/reference/configuration.md": config_page,
}
"""The function that makes each file, by the path of the file in the repository."""


def main() -> None:
    """Write every file."""
    for path, text in FILES.items():
        (ROOT / path).write_text(text(), encoding="utf-8")


if __name__ == "__main__":
    main()
