"""Every key of a preset and of the configuration is described: schemas and pages are made of these words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from moa_mcp.config.settings import ConfigFile
from moa_mcp.domain.fields import StrictModel
from moa_mcp.domain.preset import Preset
from moa_mcp.presets.auto import AutoPreset
from moa_mcp.presets.hermes import HermesPreset


def keys(model: type[StrictModel]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each key of a model and of the models in it, by its place, with the schema of its value."""
    schema = model.model_json_schema()
    for name, part in {model.__name__: schema, **schema.get("$defs", {})}.items():
        yield from ((f"{name}.{key}", value) for key, value in part["properties"].items())


@pytest.mark.parametrize("model", [Preset, AutoPreset, HermesPreset, ConfigFile])
def test_every_key_is_described_in_whole_sentences(model: type[StrictModel]) -> None:
    # A key with one value alone, such as `by`, only says which kind it is: the kind is described.
    described = {place: value.get("description", "") for place, value in keys(model) if "const" not in value}

    assert described
    assert [place for place, words in described.items() if not words.endswith(".")] == []


@pytest.mark.parametrize("model", [Preset, AutoPreset, HermesPreset, ConfigFile])
def test_every_kind_of_mapping_is_described(model: type[StrictModel]) -> None:
    schema = model.model_json_schema()

    assert [name for name, part in schema["$defs"].items() if not part.get("description", "").endswith(".")] == []
