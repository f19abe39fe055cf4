"""The panel that is chosen from what is at hand."""

from collections.abc import Collection, Mapping, Sequence

import pytest

from moa_mcp.domain.endpoints import BUILTIN, split_model
from moa_mcp.domain.preset import Preset, Proposer
from moa_mcp.presets.auto import AutoPreset, Candidate, choose_panel
from moa_mcp.presets.library import PresetLibrary

AUTO = AutoPreset(
    name="auto",
    title="Best at hand",
    candidates=(
        Candidate(family="red", routes=("red/strong", "hub/red-strong")),
        Candidate(family="blue", routes=("blue/strong", "hub/blue-strong")),
        Candidate(family="red", routes=("red/small",)),
        Candidate(family="green", routes=("hub/green",)),
    ),
    aggregators=("blue/strong", "hub/blue-strong", "red/strong"),
    size=3,
    not_chat=("embed",),
    last_resort=("demo/a", "demo/b"),
)


def chosen(*providers: str, local: Mapping[str, Sequence[str]] | None = None) -> tuple[Preset, str]:
    return choose_panel(AUTO, lambda model: split_model(model)[0] in providers, local or {})


def models(preset: Preset) -> list[str]:
    return [slot.model for slot in preset.slots if isinstance(slot, Proposer)]


def test_one_model_of_each_family_comes_before_a_second_of_any() -> None:
    preset, _ = chosen("red", "blue", "hub")

    assert models(preset) == ["red/strong", "blue/strong", "hub/green"]
    assert (preset.name, preset.title, preset.layers) == ("auto", "Best at hand", 2)


def test_a_second_of_a_family_fills_a_place_that_is_left() -> None:
    assert models(chosen("red", "blue")[0]) == ["red/strong", "blue/strong", "red/small"]


def test_the_first_usable_route_to_a_model_is_taken() -> None:
    assert models(chosen("hub")[0]) == ["hub/red-strong", "hub/blue-strong", "hub/green"]


def test_the_best_usable_aggregator_ends_it_and_the_next_are_its_fallbacks() -> None:
    aggregator = chosen("red", "hub")[0].aggregator

    assert (aggregator.model, aggregator.fallbacks) == ("hub/blue-strong", ("red/strong",))


def test_the_note_says_what_was_chosen_and_why() -> None:
    assert chosen("red")[1] == ("auto: 2 models your keys allow (red/strong, red/small); aggregator red/strong.")


def test_a_single_usable_model_is_sampled() -> None:
    only = AUTO.model_copy(update={"candidates": AUTO.candidates[:1], "aggregators": ("blue/strong",)})
    preset, note = choose_panel(only, lambda model: model == "red/strong", {})

    assert models(preset) == ["red/strong"] * 3
    assert preset.aggregator.model == "red/strong"
    assert "the one model your keys allow, so it drafts 3 times" in note


def test_without_a_key_the_local_models_that_chat_answer() -> None:
    preset, note = chosen(local={"ollama": ["qwen3:8b", "nomic-embed-text", "gemma3"], "vllm": []})

    assert models(preset) == ["ollama/qwen3:8b", "ollama/gemma3"]
    assert preset.aggregator.model == "ollama/qwen3:8b"
    assert "your local servers have, as no key is set" in note


def test_no_more_local_models_than_places_are_taken() -> None:
    assert len(models(chosen(local={"ollama": ["a", "b", "c", "d"]})[0])) == 3


def test_with_nothing_at_hand_the_demonstration_answers_and_the_note_says_so() -> None:
    preset, note = chosen()

    assert models(preset) == ["demo/a", "demo/b"]
    assert preset.aggregator.model == "demo/a"
    assert "canned demonstration drafts answer, not models" in note


def test_local_servers_need_to_be_asked_only_when_no_candidate_is_usable() -> None:
    assert AUTO.reachable(lambda model: model == "hub/green")
    assert not AUTO.reachable(lambda model: model.startswith("ollama/"))


PACKAGED = PresetLibrary(None).get("auto")
KEYED = [name for name, endpoint in BUILTIN.items() if endpoint.api_key_env]


@pytest.mark.parametrize("keys", [(key,) for key in KEYED] + [("openai", "anthropic"), tuple(KEYED)])
def test_any_key_gives_a_panel_that_needs_no_other(keys: Collection[str]) -> None:
    assert isinstance(PACKAGED, AutoPreset)
    preset, _ = choose_panel(PACKAGED, lambda model: split_model(model)[0] in keys, {})

    assert {split_model(model)[0] for model in preset.models} <= set(keys)
    assert 2 <= len(preset.slots) <= 4


def test_several_keys_give_four_families() -> None:
    assert isinstance(PACKAGED, AutoPreset)
    preset, _ = choose_panel(PACKAGED, lambda model: split_model(model)[0] == "openrouter", {})

    assert len({split_model(split_model(model)[1])[0] for model in models(preset)}) == 4
