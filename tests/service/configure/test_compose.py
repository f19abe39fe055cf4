"""Presets that are put together on request, within what a caller may do."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from moa_mcp.config.settings import LimitSettings, Settings
from moa_mcp.domain.endpoints import BUILTIN, Endpoint
from moa_mcp.domain.errors import InvalidPreset, InvalidRequest, NotAllowed, UnknownPreset
from moa_mcp.domain.preset import Preset, Proposer
from moa_mcp.presets.library import SCHEMA_LINE, PresetLibrary, parse
from moa_mcp.service.configure.compose import compose

PANEL = "aggregator: lab/agg\nproposers: [lab/a, lab/b]\nlimits: {max_cost_usd: 0.2}\n"
SETTINGS = Settings(
    endpoints={**BUILTIN, "lab": Endpoint("lab", "https://lab.example")}, limits=LimitSettings(max_calls=20)
)
PACKAGED = PresetLibrary(None)
PLAIN = [name for name in PACKAGED.names() if isinstance(PACKAGED.get(name), Preset)]


@pytest.fixture
def library(tmp_path: Path) -> PresetLibrary:
    (tmp_path / "own.yaml").write_text(PANEL, encoding="utf-8")
    return PresetLibrary(tmp_path)


def composed(library: PresetLibrary, name: str, base: str | None = None, **fields: Any) -> Preset:
    preset = parse(compose(library, SETTINGS, name, base, fields), "lab.yaml", name)
    assert isinstance(preset, Preset)
    return preset


def test_fields_are_set_on_top_of_the_base(library: PresetLibrary) -> None:
    preset = composed(library, "deep", "own", layers=3, proposers=["lab/c", "openai/d"])

    assert (preset.layers, preset.required_models) == (3, ("lab/c", "openai/d", "lab/agg"))


def test_a_preset_is_its_own_base_when_it_is_saved_over(library: PresetLibrary) -> None:
    preset = composed(library, "own", title="Mine")

    assert (preset.title, preset.required_models) == ("Mine", ("lab/a", "lab/b", "lab/agg"))


def test_a_packaged_preset_is_the_base_of_the_one_that_overrides_it(library: PresetLibrary) -> None:
    preset = composed(library, "light", min_drafts=2)

    assert preset == PACKAGED.get("light").model_copy(update={"min_drafts": 2})


def test_a_broken_preset_can_be_saved_over(library: PresetLibrary, tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("layer: 3\n", encoding="utf-8")

    assert composed(library, "bad", "own", layers=3).layers == 3
    with pytest.raises(InvalidPreset, match="unknown key 'layer'"):
        composed(library, "bad", layers=3)


def test_without_a_base_the_fields_are_all_there_is(library: PresetLibrary) -> None:
    text = compose(library, SETTINGS, "new", None, {"aggregator": "lab/x", "proposers": ["lab/y"]})

    assert text == f"{SCHEMA_LINE}\nproposers: [lab/y]\naggregator: lab/x\n"


def test_what_is_written_reads_like_what_a_person_writes(library: PresetLibrary) -> None:
    fields = {"aggregator": {"model": "lab/x"}, "straggler_grace_seconds": None, "description": "1e3"}
    text = compose(library, SETTINGS, "new", "own", fields)

    assert text.splitlines() == [
        "# yaml-language-server: $schema=preset.schema.json",
        "description: '1e3'",
        "proposers: [lab/a, lab/b]",
        "layers: 2",
        "aggregator: {model: lab/x}",
        "straggler_grace_seconds: null",
        "limits: {max_cost_usd: 0.2}",
    ]


@pytest.mark.parametrize("name", PLAIN)
def test_every_packaged_preset_can_be_saved_under_another_name(library: PresetLibrary, name: str) -> None:
    copy = composed(library, "copy", name, title="A copy")

    assert copy == PACKAGED.get(name).model_copy(update={"name": "copy", "title": "A copy"})


def test_a_proposer_may_be_given_in_full(library: PresetLibrary) -> None:
    slots = ["lab/a", {"model": "lab/b", "samples": 2, "role": "Line one.\nLine two: 12:30"}]

    assert composed(library, "own", proposers=slots).proposers == (
        Proposer(model="lab/a"),
        Proposer(model="lab/b", samples=2, role="Line one.\nLine two: 12:30"),
    )


@pytest.mark.parametrize(
    ("name", "base", "fields", "error", "message"),
    [
        ("../x", "own", {}, InvalidRequest, "save_preset is a name"),
        ("NEW", "own", {}, InvalidRequest, "save_preset is a name"),
        ("new", None, {"base_url": "https://evil.example"}, InvalidRequest, "no field 'base_url'"),
        ("new", None, {"layer": 3}, InvalidRequest, "nearest first: layers"),
        ("new", None, {"name": "other"}, InvalidRequest, "no field 'name'"),
        ("new", None, {"candidates": []}, InvalidRequest, "no field 'candidates'"),
        ("new", None, {"reference_models": []}, InvalidRequest, "no field 'reference_models'"),
        ("new", "nown", {}, UnknownPreset, "nearest first: own"),
        ("new", "auto", {}, InvalidRequest, "chosen again"),
        ("auto", None, {"layers": 2}, InvalidRequest, "chosen again"),
        ("new", None, {"layers": 3}, InvalidPreset, "presets/new.yaml: aggregator: this key is missing"),
        ("own", None, {"layers": 99}, InvalidPreset, "layers: this value does not fit"),
        (
            "own",
            None,
            {"aggregator": {"model": "lab/a", "api_key": "x"}},
            InvalidPreset,
            "unknown key 'api_key'",
        ),
        ("own", None, {"limits": 3}, InvalidPreset, "limits: this value does not fit"),
        ("own", None, {"limits": {"max_cost": 3}}, InvalidPreset, "unknown key 'max_cost'"),
        ("own", None, {"limits": {"max_cost_usd": float("nan")}}, InvalidPreset, "max_cost_usd: this value"),
        ("own", None, {"aggregator": None}, InvalidPreset, "aggregator: this key is missing"),
        ("own", None, {"aggregator": {"model": "lab/a", "headers": {}}}, NotAllowed, "headers cannot be set from here"),
        ("own", None, {"proposers": [{"preset": "own"}]}, NotAllowed, "cannot contain itself"),
        ("own", None, {"proposers": [{"preset": "none"}]}, UnknownPreset, "no preset 'none'"),
    ],
)
def test_what_cannot_become_a_preset_is_refused(
    library: PresetLibrary,
    name: str,
    base: str | None,
    fields: Mapping[str, Any],
    error: type[Exception],
    message: str,
) -> None:
    with pytest.raises(error, match=message):
        compose(library, SETTINGS, name, base, fields)


@pytest.mark.parametrize(
    "fields",
    [
        {"aggregator": "evil/x"},
        {"aggregator": {"model": "lab/a", "fallbacks": ["evil/x"]}},
        {"proposers": ["lab/a", "evil/x"]},
        {"proposers": [{"method": "tree-search", "model": "lab/a", "judge": "evil/x"}]},
        {"screen": {"by": "judge", "keep": 1, "model": "evil/x"}},
        {"layers": 1, "proposers": ["evil/x"]},
    ],
)
def test_only_models_of_declared_providers_are_composed(library: PresetLibrary, fields: dict[str, Any]) -> None:
    with pytest.raises(NotAllowed, match=r"'evil/x' is of provider 'evil', which is not declared \(nearest: "):
        compose(library, SETTINGS, "own", None, fields)


@pytest.mark.parametrize(
    ("name", "base", "limits", "message"),
    [
        (
            "own",
            None,
            {"max_cost_usd": 0.3},
            r"limits.max_cost_usd can only be lowered from here; it is 0\.2 now",
        ),
        ("new", "own", {"max_cost_usd": 0.3}, r"it is 0\.2 now"),
        ("own", "moa", {"max_cost_usd": 0.3}, r"it is 0\.2 now"),
        ("own", None, {"max_calls": 21}, "limits.max_calls can only be lowered from here; it is 20 now"),
        ("own", None, {"deadline_seconds": 301}, "it is 300 now"),
    ],
)
def test_no_limit_is_raised_over_base_preset_or_ceiling(
    library: PresetLibrary, name: str, base: str | None, limits: dict[str, float], message: str
) -> None:
    with pytest.raises(NotAllowed, match=message):
        compose(library, SETTINGS, name, base, {"limits": limits})


@pytest.mark.parametrize("limits", [None, {}, {"max_cost_usd": None}])
def test_a_limit_is_not_removed_by_leaving_it_out(library: PresetLibrary, limits: object) -> None:
    assert composed(library, "own", "moa", limits=limits).limits.max_cost_usd == 0.2


def test_a_lowered_limit_is_written_beside_the_current_ones(library: PresetLibrary) -> None:
    limits = composed(library, "own", limits={"max_calls": 5}).limits

    assert (limits.max_calls, limits.max_cost_usd, limits.deadline_seconds) == (5, 0.2, None)


def test_a_schema_of_replies_may_have_a_property_of_any_name(library: PresetLibrary) -> None:
    schema = {"type": "object", "properties": {"search": {"type": "string"}}}
    form = {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}
    preset = composed(library, "own", aggregator={"model": "lab/a", "response_format": form, "top_p": 0.5})

    assert (preset.aggregator.response_format, preset.aggregator.top_p) == (form, 0.5)
