"""The library of presets: the packaged ones, and a person's own over them."""

import os
from pathlib import Path

import pytest

from moa_mcp.domain.endpoints import BUILTIN, split_model
from moa_mcp.domain.errors import InvalidPreset, UnknownPreset
from moa_mcp.domain.fields import PromptStyle
from moa_mcp.domain.preset import Preset, Proposer
from moa_mcp.presets.auto import AutoPreset
from moa_mcp.presets.library import PresetLibrary, is_name, parse
from moa_mcp.providers.prices import rates

PACKAGED = PresetLibrary(None)
PANEL = "aggregator: lab/agg\nproposers: [lab/a, lab/b]\n"
PLAIN = [name for name in PACKAGED.names() if isinstance(PACKAGED.get(name), Preset)]


def plain(name: str) -> Preset:
    preset = PACKAGED.get(name)
    assert isinstance(preset, Preset)
    return preset


def written(folder: Path, name: str, text: str = PANEL) -> PresetLibrary:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(text, encoding="utf-8")
    return PresetLibrary(folder)


def test_every_packaged_preset_loads() -> None:
    assert PACKAGED.problems() == []
    assert {
        "auto",
        "demo",
        "frontier",
        "light",
        "local",
        "moa",
        "moa-lite",
        "moa-paper",
        "nous",
        "self-moa",
    } <= {*PACKAGED.names()}


@pytest.mark.parametrize("name", PACKAGED.names())
def test_every_packaged_preset_says_what_it_is_and_when_it_pays(name: str) -> None:
    preset = PACKAGED.get(name)

    assert preset.name == name
    assert preset.title
    assert "pays" in preset.description


@pytest.mark.parametrize("name", PLAIN)
def test_every_packaged_preset_calls_built_in_providers(name: str) -> None:
    assert {split_model(model)[0] for model in plain(name).models} <= set(BUILTIN)


@pytest.mark.parametrize("name", ["moa", "moa-lite", "light", "self-moa", "frontier"])
def test_the_price_of_every_model_of_these_presets_is_known(name: str) -> None:
    assert [model for model in plain(name).models if rates(model) is None] == []


@pytest.mark.parametrize(
    ("name", "layers", "slots", "style"),
    [
        ("moa", 3, 6, "auto"),
        ("moa-lite", 2, 6, "auto"),
        ("moa-paper", 3, 6, "paper"),
        ("light", 2, 2, "auto"),
        ("self-moa", 2, 6, "auto"),
        ("frontier", 2, 2, "auto"),
        ("demo", 3, 3, "auto"),
    ],
)
def test_packaged_presets_have_the_shape_of_their_name(name: str, layers: int, slots: int, style: PromptStyle) -> None:
    preset = plain(name)

    assert (preset.layers, len(preset.slots), preset.prompt_style) == (layers, slots, style)


def test_the_paper_is_repeated_with_its_models_and_settings_and_called_historic() -> None:
    paper = plain("moa-paper")
    models = [slot.model for slot in paper.slots if isinstance(slot, Proposer)]

    assert models == [
        "together/microsoft/WizardLM-2-8x22B",
        "together/Qwen/Qwen1.5-110B-Chat",
        "together/Qwen/Qwen1.5-72B-Chat",
        "together/meta-llama/Llama-3-70b-chat-hf",
        "together/mistralai/Mixtral-8x22B-Instruct-v0.1",
        "together/databricks/dbrx-instruct",
    ]
    assert {(s.temperature, s.max_tokens) for s in paper.slots if isinstance(s, Proposer)} == {(0.7, 2048)}
    assert paper.aggregator.model == "together/Qwen/Qwen1.5-110B-Chat"
    assert "historic" in paper.title


def test_moa_lite_is_moa_without_its_second_layer() -> None:
    assert plain("moa-lite").proposers == plain("moa").proposers
    assert plain("moa-lite").aggregator == plain("moa").aggregator


def test_the_demonstration_needs_no_key_and_no_network() -> None:
    assert {split_model(model)[0] for model in plain("demo").models} == {"demo"}


def test_the_default_is_chosen_from_candidates() -> None:
    assert isinstance(PACKAGED.get("auto"), AutoPreset)


def test_a_persons_preset_wins_over_a_packaged_one_of_its_name(tmp_path: Path) -> None:
    library = written(tmp_path, "moa.yaml")
    own = library.get("moa")

    assert isinstance(own, Preset)
    assert own.aggregator.model == "lab/agg"
    assert (library.source("moa"), library.source("light")) == ("user", "builtin")
    assert library.text("moa") == PANEL
    assert library.is_builtin("moa")


def test_a_missing_folder_is_an_empty_one(tmp_path: Path) -> None:
    assert PresetLibrary(tmp_path / "none").names() == PACKAGED.names()


def test_the_error_of_a_broken_file_names_its_line_and_the_file_hides_no_other(tmp_path: Path) -> None:
    library = written(tmp_path / "presets", "lab.yaml", PANEL + "layer: 3\n")
    written(tmp_path / "presets", "good.yaml")

    with pytest.raises(InvalidPreset, match=r"^presets/lab\.yaml, line 3: layer: unknown key") as broken:
        library.get("lab")
    assert [str(problem) for problem in library.problems()] == [str(broken.value)]
    assert isinstance(library.get("good"), Preset)


def test_a_link_that_leads_nowhere_hides_no_other(tmp_path: Path) -> None:
    (tmp_path / "link.yaml").symlink_to(tmp_path / "none")
    library = written(tmp_path, "lab.yaml", "layer: 3\n")

    assert ["link.yaml: the file is gone" in str(problem) for problem in library.problems()] == [False, True]


def test_the_text_of_what_is_no_preset_is_not_shown(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text("root:x:0:0\n", encoding="utf-8")
    library = written(tmp_path / "presets", "good.yaml")
    (tmp_path / "presets" / "leads-out.yaml").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "presets" / "shared.yaml").symlink_to(tmp_path / "presets" / "good.yaml")

    with pytest.raises(InvalidPreset, match="not a mapping") as refused:
        library.text("leads-out")
    assert "root" not in str(refused.value)
    assert library.text("shared") == PANEL


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes here")
def test_only_regular_files_are_read_and_the_error_names_what_else_it_is(tmp_path: Path) -> None:
    library = written(tmp_path, "good.yaml")
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "folder.yaml").mkdir()
    (tmp_path / "zero.yaml").symlink_to("/dev/zero")

    message = [str(problem).partition(": ")[2] for problem in library.problems()]
    assert message == [
        f"this is {kind}, not a file. Expected a regular file." for kind in ("a folder", "a named pipe", "a device")
    ]
    assert isinstance(library.get("good"), Preset)


def test_the_error_for_an_unknown_preset_lists_the_nearest_first() -> None:
    with pytest.raises(UnknownPreset) as unknown:
        PACKAGED.get("moa-light")

    assert unknown.value.known[0] == "moa-lite"


@pytest.mark.parametrize("name", ["../moa", "/etc/passwd", "C:x", "moa\x00", "", "MOA", "moa.yaml", "a" * 65])
def test_an_invalid_name_is_unknown_and_never_a_path(name: str) -> None:
    assert not is_name(name)
    with pytest.raises(UnknownPreset):
        PACKAGED.get(name)


def test_nothing_outside_the_folder_is_reached(tmp_path: Path) -> None:
    (tmp_path / "secret.yaml").write_text(PANEL, encoding="utf-8")
    library = written(tmp_path / "presets", "lab.yaml")

    for name in ("../secret", "presets/../../secret", str(tmp_path / "secret")):
        with pytest.raises(UnknownPreset):
            library.text(name)


@pytest.mark.parametrize("name", ["My Panel.yaml", "lab.yml", "_lab.yaml"])
def test_a_file_with_an_invalid_name_is_listed_as_a_problem(tmp_path: Path, name: str) -> None:
    library = written(tmp_path, name)

    (problem,) = library.problems()
    assert name in str(problem)
    assert library.names() == PACKAGED.names()


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    library = written(tmp_path, "lab.yaml")
    before = library.get("lab")
    unchanged = library.get("lab")
    written(tmp_path, "lab.yaml", PANEL + "layers: 3\n")
    after = library.get("lab")

    assert unchanged is before
    assert isinstance(after, Preset)
    assert after.layers == 3


def test_a_removed_file_is_gone(tmp_path: Path) -> None:
    library = written(tmp_path, "lab.yaml")
    library.get("lab")
    (tmp_path / "lab.yaml").unlink()

    with pytest.raises(UnknownPreset):
        library.get("lab")


def test_a_file_may_name_its_preset_only_as_it_is_called() -> None:
    assert parse("name: lab\n" + PANEL, "lab.yaml", "lab").name == "lab"
    with pytest.raises(InvalidPreset, match=r"lab\.yaml, line 3: name: a preset is called what its file is"):
        parse(PANEL + "name: other\n", "lab.yaml", "lab")


def test_a_proposer_is_a_model_or_a_mapping() -> None:
    slots = "[lab/a, {model: lab/b, samples: 2, temperature: 0.7}]"
    preset = parse(f"aggregator: {{model: lab/agg}}\nproposers: {slots}\n", "lab.yaml", "lab")

    assert isinstance(preset, Preset)
    assert [slot.model for slot in preset.slots if isinstance(slot, Proposer)] == ["lab/a", "lab/b", "lab/b"]
