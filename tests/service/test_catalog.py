"""The presets as a caller meets them."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from moa_mcp.config.settings import Settings
from moa_mcp.domain.endpoints import BUILTIN, Endpoint, split_model
from moa_mcp.domain.errors import InvalidPreset, UnknownPreset
from moa_mcp.domain.preset import NestedPreset, Preset
from moa_mcp.presets.library import PresetLibrary
from moa_mcp.providers.prices import Rates
from moa_mcp.service.catalog import Catalog

PANEL = """\
title: Lab
description: For tests.
aggregator: groq/agg
proposers: [openai/a, {model: groq/b, samples: 2}]
"""


class Hand:
    """The keys and local models at hand; `asked` lists the local servers that were asked."""

    def __init__(self, *keyed: str, local: Mapping[str, Sequence[str]] | None = None) -> None:
        self._keyed = keyed
        self._local = local or {}
        self.asked: list[str] = []

    def is_usable(self, model: str) -> bool:
        return split_model(model)[0] in BUILTIN and self.missing_key(model) is None

    def missing_key(self, model: str) -> str | None:
        endpoint = BUILTIN.get(split_model(model)[0])
        return None if endpoint is None or endpoint.name in self._keyed else endpoint.api_key_env

    async def local_models(self, provider: str) -> list[str]:
        self.asked.append(provider)
        return list(self._local.get(provider, ()))


def flat(model: str) -> Rates | None:
    """A dollar per thousand tokens read, two per thousand written; the demonstration has no price."""
    return None if model.startswith("demo/") else Rates(0.001, 0.002)


def library(folder: Path, **presets: str) -> PresetLibrary:
    for name, text in presets.items():
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
    return PresetLibrary(folder)


def catalog(presets: PresetLibrary, hand: Hand | None = None, settings: Settings | None = None) -> Catalog:
    return Catalog(presets, lambda: settings or Settings(), hand or Hand(), flat)


async def test_a_preset_is_found_by_name_without_notes(tmp_path: Path) -> None:
    preset, notes = await catalog(library(tmp_path, lab=PANEL)).resolve("lab")

    assert (preset.name, preset.models, notes) == ("lab", ("openai/a", "groq/b", "groq/agg"), ())


async def test_no_name_means_the_default_as_it_is_now(tmp_path: Path) -> None:
    now = [Settings(default_preset="lab")]
    presets = Catalog(library(tmp_path, lab=PANEL), lambda: now[0], Hand(), flat)
    first, _ = await presets.resolve(None)
    now[0] = Settings(default_preset="demo")
    second, _ = await presets.resolve(None)

    assert (first.name, second.name) == ("lab", "demo")


async def test_auto_takes_the_models_whose_keys_are_set_and_asks_no_local_server(tmp_path: Path) -> None:
    hand = Hand("groq")
    preset, notes = await catalog(library(tmp_path), hand).resolve("auto")

    assert {split_model(model)[0] for model in preset.models} == {"groq"}
    assert "models your keys allow" in notes[0]
    assert hand.asked == []


async def test_auto_takes_local_models_where_no_key_is_set(tmp_path: Path) -> None:
    hand = Hand(local={"ollama": ["qwen3:8b", "gemma3"]})
    preset, notes = await catalog(library(tmp_path), hand).resolve("auto")

    assert preset.models == ("ollama/qwen3:8b", "ollama/gemma3")
    assert "local servers" in notes[0]
    assert set(hand.asked) == {"ollama", "lmstudio", "vllm"}


async def test_auto_falls_back_to_the_demonstration_and_says_so(tmp_path: Path) -> None:
    preset, notes = await catalog(library(tmp_path)).resolve("auto")

    assert {split_model(model)[0] for model in preset.models} == {"demo"}
    assert "demonstration" in notes[0]


async def test_the_error_for_an_unknown_name_lists_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(UnknownPreset, match="moa-lite"):
        await catalog(library(tmp_path)).resolve("moa-light")


async def test_the_error_for_a_missing_default_preset_names_its_key(tmp_path: Path) -> None:
    presets = catalog(library(tmp_path), settings=Settings(default_preset="mooa"))

    with pytest.raises(UnknownPreset, match=r"no preset 'mooa', which default_preset in config\.yaml names.* moa,"):
        await presets.resolve(None)


async def test_a_preset_in_a_slot_is_looked_up_with_the_note_of_its_choice(tmp_path: Path) -> None:
    outer = "aggregator: groq/agg\nproposers: [{preset: auto}, {preset: lab}, {preset: auto}, openai/a]\n"
    preset, notes = await catalog(library(tmp_path, outer=outer, lab=PANEL), Hand("groq")).resolve("outer")
    inner = [slot.plan.name for slot in preset.proposers if isinstance(slot, NestedPreset)]

    assert inner == ["auto", "lab", "auto"]
    assert [note.partition(":")[0] for note in notes] == ["auto"]


@pytest.mark.parametrize(
    ("one", "two", "message"),
    [
        ("{preset: one}", "openai/a", "one > one"),
        ("{preset: two}", "{preset: one}", "one > two > one"),
    ],
)
async def test_presets_that_stand_inside_one_another_in_a_circle_are_refused_with_their_place(
    tmp_path: Path, one: str, two: str, message: str
) -> None:
    texts = {
        name: f"aggregator: groq/agg\nproposers:\n- openai/a\n- {slot}\n" for name, slot in (("one", one), ("two", two))
    }
    presets = catalog(library(tmp_path, **texts))

    with pytest.raises(InvalidPreset, match=message) as caught:
        await presets.resolve("one")
    error = caught.value
    assert (error.file.endswith("/one.yaml"), error.line, error.key) == (True, 4, "proposers[1].preset")
    assert error.expected == "at most 3 levels and no circle"
    assert (await presets.entry("one")).problem == str(error)


async def test_presets_stand_inside_one_another_three_levels_deep_at_most(tmp_path: Path) -> None:
    texts = {f"p{level}": f"aggregator: groq/agg\nproposers: [{{preset: p{level + 1}}}]\n" for level in range(3)}
    presets = catalog(library(tmp_path, **texts, p3=PANEL))

    assert (await presets.resolve("p1"))[0].name == "p1"
    with pytest.raises(InvalidPreset, match=r"p0.yaml, line 2: proposers.*p0 > p1 > p2 > p3"):
        await presets.resolve("p0")


async def test_the_error_for_a_slot_with_an_unknown_preset_names_its_place_and_the_nearest(tmp_path: Path) -> None:
    inner = "aggregator: groq/agg\nproposers:\n  - preset: laab\n"
    presets = catalog(library(tmp_path, outer="aggregator: groq/agg\nproposers: [{preset: inner}]\n", inner=inner))

    with pytest.raises(InvalidPreset, match=r"/inner.yaml, line 3: proposers.*no preset 'laab'.*nearest first, "):
        await presets.resolve("outer")


async def test_an_entry_has_the_facts_of_its_preset(tmp_path: Path) -> None:
    hand, settings = Hand("openai", "groq"), Settings(default_preset="lab")
    entry = await catalog(library(tmp_path, lab=PANEL), hand, settings).entry("lab")

    assert (entry.name, entry.title, entry.description, entry.source) == ("lab", "Lab", "For tests.", "user")
    assert (entry.usable, entry.missing, entry.problem, entry.default) == (True, (), None, True)
    assert (entry.layers, entry.proposers, entry.aggregator) == (
        2,
        ("openai/a", "groq/b", "groq/b"),
        "groq/agg",
    )
    assert (entry.calls, entry.serial_rounds) == (4, 2)


async def test_missing_keys_are_named_once_each_and_in_order(tmp_path: Path) -> None:
    entry = await catalog(library(tmp_path, lab=PANEL)).entry("lab")

    assert not entry.usable
    assert entry.missing == ("GROQ_API_KEY", "OPENAI_API_KEY")
    assert str(entry.problem) == "These models cannot be called now: openai/a, groq/b, groq/agg."


async def test_a_fallback_without_a_key_keeps_nothing_from_being_used(tmp_path: Path) -> None:
    text = "aggregator: {model: groq/agg, fallbacks: [openai/a]}\nproposers: [groq/a]\n"

    assert (await catalog(library(tmp_path, lab=text), Hand("groq")).entry("lab")).usable


async def test_a_model_of_an_undeclared_provider_is_listed_without_a_key(tmp_path: Path) -> None:
    text = "aggregator: nowhere/agg\nproposers: [groq/a]\n"
    entry = await catalog(library(tmp_path, lab=text), Hand("groq")).entry("lab")

    assert (entry.usable, entry.missing) == (False, ())
    assert "nowhere/agg" in str(entry.problem)


@pytest.mark.parametrize(
    ("models", "usable"), [(["qwen3:8b", "gemma3:latest"], True), (["qwen3:8b"], False), ([], False)]
)
async def test_a_local_preset_is_usable_if_its_server_has_the_models(
    tmp_path: Path, models: list[str], usable: bool
) -> None:
    text = "aggregator: ollama/qwen3:8b\nproposers: [ollama/gemma3]\n"
    entry = await catalog(library(tmp_path, lab=text), Hand(local={"ollama": models})).entry("lab")

    assert entry.usable is usable


async def test_the_price_is_that_of_the_rehearsed_calls(tmp_path: Path) -> None:
    text = "aggregator: {model: groq/agg, max_tokens: 100}\nlayers: 1\n"
    entry = await catalog(library(tmp_path, lab=text)).entry("lab")

    assert entry.estimated_cost_usd is not None
    assert 0.2 < entry.estimated_cost_usd < 0.2 + 0.2


async def test_an_unknown_price_makes_the_whole_unknown_and_not_zero(tmp_path: Path) -> None:
    text = "aggregator: groq/agg\nproposers: [demo/north]\n"

    assert (await catalog(library(tmp_path, lab=text)).entry("lab")).estimated_cost_usd is None


async def test_a_broken_preset_is_listed_as_unusable_with_its_problem(tmp_path: Path) -> None:
    entries = await catalog(library(tmp_path, lab=PANEL, broken="layer: 3\n")).entries()
    broken = next(entry for entry in entries if entry.name == "broken")

    assert [entry.name for entry in entries] == sorted([*PresetLibrary(None).names(), "broken", "lab"])
    assert (broken.usable, broken.source, broken.calls) == (False, "user", None)
    assert "broken.yaml, line 1: layer: unknown key" in str(broken.problem)
    assert broken.description == broken.problem


async def test_every_packaged_preset_is_listed_with_its_calls_and_rounds(tmp_path: Path) -> None:
    entries = {entry.name: entry for entry in await catalog(library(tmp_path), Hand(*BUILTIN)).entries()}
    expected = {"moa": (13, 3), "moa-lite": (7, 2), "light": (3, 2), "self-moa": (7, 2), "demo": (7, 3)}

    assert {name: (entries[name].calls, entries[name].serial_rounds) for name in expected} == expected
    assert [name for name, entry in entries.items() if entry.default] == ["auto"]
    assert [name for name, entry in entries.items() if entry.calls is None] == []


async def test_auto_is_listed_with_the_panel_it_would_be_now(tmp_path: Path) -> None:
    entry = await catalog(library(tmp_path), Hand("groq")).entry("auto")

    assert (entry.usable, entry.aggregator) == (True, "groq/openai/gpt-oss-120b")
    assert "auto: 2 models your keys allow" in entry.description


async def test_an_entry_of_an_unknown_preset_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UnknownPreset):
        await catalog(library(tmp_path)).entry("none")


async def test_ceilings_of_the_configuration_are_not_applied_here(tmp_path: Path) -> None:
    text = PANEL + "limits: {max_cost_usd: 50}\n"
    preset, _ = await catalog(library(tmp_path, lab=text)).resolve("lab")

    assert isinstance(preset, Preset)
    assert preset.limits.max_cost_usd == 50


async def test_with_the_settings_of_an_ask_no_others_are_read(tmp_path: Path) -> None:
    given = Settings(default_preset="auto", endpoints={"shed": Endpoint("shed", "http://127.0.0.1:9/v1", local=True)})
    hand = Hand()
    presets = Catalog(library(tmp_path), lambda: pytest.fail("read again"), hand, flat)
    preset, _ = await presets.resolve(None, given)

    assert hand.asked == ["shed"]
    assert preset.name == "auto"
