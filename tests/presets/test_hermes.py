"""Presets that were written for Hermes Agent."""

import pytest

from moa_mcp.domain.errors import InvalidPreset
from moa_mcp.domain.preset import Preset, Proposer
from moa_mcp.flows.conclude.advise import Advise
from moa_mcp.presets.library import parse

DEFAULT = """\
reference_models:
  - provider: openai-codex
    model: gpt-5.5
    reasoning_effort: high
  - provider: openrouter
    model: deepseek/deepseek-v4-pro
  - provider: xai-oauth
    model: grok-4.7
    enabled: no
aggregator:
  provider: openrouter
  model: anthropic/claude-opus-4.8
reference_temperature: 0.6
aggregator_temperature: 0.4
max_tokens: 4096
enabled: true
fanout: {mode: every_n, n: 3}
degraded_reference_policy: silent
reference_tool_result_budget: 4000
"""


def ours(text: str) -> Preset:
    preset = parse(text, "hermes.yaml", "hermes")
    assert isinstance(preset, Preset)
    return preset


def test_a_hermes_preset_loads_as_it_is() -> None:
    preset = ours(DEFAULT)

    assert preset.name == "hermes"
    assert preset.layers == 2
    assert preset.proposers == (
        Proposer(model="openai/gpt-5.5", temperature=0.6, max_tokens=4096, effort="high"),
        Proposer(model="openrouter/deepseek/deepseek-v4-pro", temperature=0.6, max_tokens=4096),
    )
    assert preset.aggregator.model == "openrouter/anthropic/claude-opus-4.8"
    assert (preset.aggregator.temperature, preset.aggregator.max_tokens) == (0.4, 4096)
    assert preset.conclude == Advise(by="advise", unavailable="silent")


def test_temperatures_that_are_not_given_are_not_sent() -> None:
    preset = ours("reference_models: [openrouter/a/b]\naggregator: {provider: anthropic, model: c}\n")

    assert preset.proposers == (Proposer(model="openrouter/a/b"),)
    assert (preset.aggregator.model, preset.aggregator.temperature) == ("anthropic/c", None)


def test_a_single_reference_may_stand_without_a_list() -> None:
    text = "reference_models: {provider: gemini, model: g}\naggregator: {provider: x-ai, model: h}\n"

    assert ours(text).models == ("google/g", "xai/h")


@pytest.mark.parametrize(
    "text",
    [
        DEFAULT.replace("enabled: true", "enabled: false"),
        DEFAULT.replace("enabled: true", "enabled: off"),
        "reference_models: []\naggregator: {provider: openrouter, model: a}\n",
        "reference_models: [{provider: nous, model: b, enabled: false}]\naggregator: openrouter/a\n",
    ],
)
def test_switched_off_the_aggregator_answers_alone(text: str) -> None:
    preset = ours(text)

    assert (preset.layers, preset.proposers) == (1, ())


def test_a_provider_that_is_not_built_in_keeps_its_name() -> None:
    text = "reference_models: [{provider: kimi-coding, model: k}]\naggregator: openrouter/a\n"

    assert ours(text).required_models == ("kimi-coding/k", "openrouter/a")


@pytest.mark.parametrize(
    ("wrong", "right", "message"),
    [
        (
            "reasoning_effort: high",
            "reasonning_effort: high",
            "line 4: reference_models[0].reasonning_effort: unknown",
        ),
        (
            "provider: openai-codex",
            "provider: moa",
            "line 2: reference_models[0].provider: a Hermes preset cannot",
        ),
        ("model: gpt-5.5", "model: gpt 5.5", "line 3: reference_models[0].model: this value does not fit"),
        (
            "aggregator_temperature: 0.4",
            "aggregator_temperature: 9",
            "line 14: aggregator_temperature: this value",
        ),
        (
            "  - provider: openrouter\n",
            "  - enabled: true\n",
            "line 5: reference_models[1].provider: this key is missing",
        ),
    ],
)
def test_errors_name_their_line(wrong: str, right: str, message: str) -> None:
    with pytest.raises(InvalidPreset) as refused:
        ours(DEFAULT.replace(wrong, right))

    assert message in str(refused.value)
