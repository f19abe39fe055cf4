"""The schemas for editors and the reference pages: made of the descriptions in the package, and never stale."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from moa_mcp.config.settings import settings_from
from moa_mcp.domain.errors import InvalidConfig, InvalidPreset
from moa_mcp.domain.preset import Preset
from moa_mcp.presets.library import SCHEMA_FILE, SCHEMA_LINE, PresetLibrary, parse
from scripts import schemas

ROOT = Path(__file__).parents[1]
PRESETS = sorted((ROOT / "presets").glob("*.yaml"))
PAGE = ROOT / "docs" / "reference" / "presets.md"
BLOCK = re.compile(r"^```yaml\n(.*?)^```", re.DOTALL | re.MULTILINE)


PRESET_SCHEMA = json.loads((ROOT / "presets" / SCHEMA_FILE).read_text(encoding="utf-8"))
CONFIG_SCHEMA = json.loads((ROOT / "docs" / "schemas" / "config.schema.json").read_text(encoding="utf-8"))
"""What editors check presets and config.yaml by."""


def faults(value: Any, schema: dict[str, Any]) -> list[str]:
    """What an editor would find wrong with a value."""
    validator: Any = Draft202012Validator(schema)  # `validate` would check the schema, too, each time
    return [str(error) for error in validator.iter_errors(value)]


def fits(text: str, schema: dict[str, Any]) -> bool:
    """Whether an editor would find nothing wrong with YAML."""
    return not faults(yaml.safe_load(text), schema)


@pytest.mark.parametrize("path", schemas.FILES)
def test_what_is_generated_is_not_stale(path: str) -> None:
    again = "It differs from what the package says. Write it anew: python scripts/schemas.py"

    assert (ROOT / path).read_text(encoding="utf-8") == schemas.FILES[path](), again


@pytest.mark.parametrize("schema", [PRESET_SCHEMA, CONFIG_SCHEMA], ids=["preset", "config"])
def test_the_schemas_are_valid_ones(schema: dict[str, Any]) -> None:
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize("path", PRESETS, ids=lambda path: path.stem)
def test_every_packaged_preset_names_the_schema_and_fits_it(path: Path) -> None:
    text = path.read_text(encoding="utf-8")

    assert text.partition("\n")[0] == SCHEMA_LINE
    assert faults(yaml.safe_load(text), PRESET_SCHEMA) == []


@pytest.mark.parametrize(
    "text",
    [
        "{layers: 3}",
        "{aggregator: a/b, layer: 3}",
        "{aggregator: a/b, layers: 99}",
        "{aggregator: no-provider}",
        "{aggregator: {model: a/b, temperatur: 1}}",
        "{aggregator: a/b, proposers: [{method: tree-search}]}",
        "{aggregator: a/b, conclude: {by: guess}}",
        "{aggregator: a/b, conclude: {by: vote, window: 3}}",
        "{candidates: []}",
        "{reference_models: [openai/gpt-5.5]}",
    ],
)
def test_the_schema_refuses_what_the_package_refuses(text: str) -> None:
    assert not fits(text, PRESET_SCHEMA)
    with pytest.raises(InvalidPreset):
        parse(text, "x.yaml", "x")


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("{}", True),
        ("limits:\nproviders:\nstore:\nnetwork:\n", True),
        ("{providers: {lab: {base_url: 'https://lab.example', api_key_env: null}}}", True),
        ("{limit: {}}", False),
        ("{store: {keep_days: 0}}", False),
        ("{providers: {lab: {url: x}}}", False),
    ],
)
def test_the_schema_of_the_configuration_takes_what_the_package_takes(text: str, right: bool) -> None:
    assert fits(text, CONFIG_SCHEMA) == right
    with nullcontext() if right else pytest.raises(InvalidConfig):
        settings_from(text)


@pytest.mark.parametrize("block", BLOCK.findall(PAGE.read_text(encoding="utf-8")))
def test_every_example_of_the_preset_page_fits_the_schema(block: str) -> None:
    assert faults({"aggregator": "lab/a", **yaml.safe_load(block)}, PRESET_SCHEMA) == []


def test_the_whole_example_of_each_page_is_read() -> None:
    preset, *_ = BLOCK.findall(PAGE.read_text(encoding="utf-8"))
    [config] = BLOCK.findall(PAGE.with_name("configuration.md").read_text(encoding="utf-8"))

    assert isinstance(parse(preset, "x.yaml", "x"), Preset)
    assert settings_from(config).embeddings


def test_the_preset_page_has_every_key_and_every_kind() -> None:
    page = PAGE.read_text(encoding="utf-8")
    definitions: dict[str, Any] = schemas.preset_schema()["$defs"]
    shapes = [definitions[name]["properties"] for name in definitions]
    kinds = [f"`{key}: {part['const']}`" for shape in shapes for key, part in shape.items() if "const" in part]
    keys = [f"| `{key}` |" for shape in shapes for key, part in shape.items() if "const" not in part]

    assert [text for text in (*kinds, *keys) if text not in page] == []
    assert len(kinds) > 15
    assert {path.stem for path in PRESETS} == set(PresetLibrary(None).names())


def test_the_schema_of_moa_configure_knows_variants_from_outside() -> None:
    """The packaged schema holds the built-in variants only. A program that adds one gets a schema with it."""
    program = """
from typing import Literal
from moa_mcp.domain.stages import STOPS, StopSpec
from moa_mcp.server.tools.registry import TOOLS

class Never(StopSpec):
    by: Literal["never"]

STOPS.register(Never)(lambda: None)
print("never" in str(TOOLS["moa_configure"].listed()))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "True"
