"""What a person is told of data that does not fit."""

import pytest

from moa_mcp.config import yamlfile
from moa_mcp.domain.errors import InvalidPreset
from moa_mcp.domain.preset import Preset

PANEL = "aggregator: lab/agg\nproposers: [lab/a, lab/b]\n"


def problem_of(text: str) -> str:
    with pytest.raises(InvalidPreset) as refused:
        yamlfile.parse(text, "lab.yaml", InvalidPreset).into(Preset)
    return str(refused.value)


@pytest.mark.parametrize(
    ("text", "place", "key", "nearest"),
    [
        (PANEL + "layer: 3", "line 3", "layer", "layers"),
        (PANEL + "limits:\n  max_cost: 1", "line 4", "limits.max_cost", "max_cost_usd"),
        (
            "aggregator: lab/agg\nproposers:\n  - lab/a\n  - {model: lab/b,\n     temprature: 1}",
            "line 5",
            "proposers[1].temprature",
            "temperature",
        ),
        (PANEL + "route:\n  by: gate\n  shar: 1", "line 5", "route.shar", "share"),
        (PANEL + "conclude: {by: select, four: best}", "line 3", "conclude.four", "for"),
        (
            PANEL + "screen: {by: judge, model: {model: lab/j, tempratur: 1}}",
            "line 3",
            "screen.model.tempratur",
            "temperature",
        ),
    ],
)
def test_an_unknown_key_is_named_with_the_nearest_key_known_there(
    text: str, place: str, key: str, nearest: str
) -> None:
    name = key.rpartition(".")[2]

    assert problem_of(text).startswith(
        f"lab.yaml, {place}: {key}: unknown key {name!r} (did you mean {nearest!r}?). Expected one of "
    )


def test_only_the_keys_of_the_chosen_kind_are_offered() -> None:
    message = problem_of(PANEL + "conclude: {by: windows, widow: 3}")

    assert "'window'?). Expected one of by, reserved, window." in message


def test_a_misspelled_key_is_told_before_the_key_that_is_then_missing() -> None:
    assert "did you mean 'aggregator'?" in problem_of("agregator: lab/agg\nproposers: [lab/a]")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("proposers: [lab/a]", "lab.yaml: aggregator: this key is missing."),
        (PANEL + "layers: 11", "line 3: layers: this value does not fit. Expected less than or equal to 10."),
        (PANEL + "layers: x", "line 3: layers: this value does not fit. Expected a valid integer"),
        (
            PANEL + "prompt_style: x",
            "line 3: prompt_style: this value does not fit. Expected 'auto', 'fenced', 'tagged' or 'paper'.",
        ),
        (PANEL + "limits: 3", "line 3: limits: this value does not fit. Expected keys with values."),
        (
            PANEL + "min_drafts: 3",
            "line 3: min_drafts: min_drafts is 3, but a layer has only 2 slots. Expected at most 2.",
        ),
        (
            PANEL + "screen:\n  by: judge\n  keep: 5",
            "line 5: screen.keep: screen keeps 5, but a layer has only 2 slots. Expected at most 2.",
        ),
        (
            PANEL + "route:\n  by: gate\n  at_most: 3",
            "line 5: route.at_most: the gate chooses 3, but a layer has only 2 slots. Expected at most 2.",
        ),
        (
            PANEL + "conclude: {by: windows, window: 3, reserved: 3}",
            "line 3: conclude.reserved: a window of 3 has no room beside 3 reserved places. Expected at most 2.",
        ),
        (
            PANEL + "stop: {by: residual}",
            "line 3: stop: stop by residual needs a residual stage. Expected a key residual beside it.",
        ),
        (
            "aggregator: lab/agg",
            "lab.yaml: a preset of more than one layer needs proposers. Expected at least one model.",
        ),
        (
            "aggregator: lab/agg\nproposers: lab/a",
            "line 2: proposers: this value does not fit. Expected a list.",
        ),
        (
            "aggregator: lab/agg\nproposers: [3]",
            "proposers[0]: this value does not fit. Expected keys with values.",
        ),
        ("aggregator: gpt", "line 1: aggregator: this value does not fit. Expected provider/model, as in"),
        (
            "aggregator: lab/agg\nproposers: [{preset: A B}]",
            "Expected a name of lower-case letters, digits, - and _.",
        ),
        (
            "aggregator: lab/agg\nproposers:\n  - samples: 2",
            "line 3: proposers[0].model: this key is missing.",
        ),
        (
            PANEL + "conclude: {by: votes}",
            "line 3: conclude.by: there is no conclude method of this name. Expected one of 'vote', 'advise'",
        ),
        (PANEL + "conclude: {window: 3}", "Expected a key 'by' that says which kind it is."),
        (
            PANEL + "conclude: {by: windows, window: 3}",
            "line 3: conclude: a window of 3 has no room beside 3",
        ),
        (
            "aggregator: {model: lab/a, effort: 3 HIGH}",
            "aggregator.effort: this value does not fit. Expected text",
        ),
    ],
)
def test_a_value_that_does_not_fit_is_told_with_what_would(text: str, message: str) -> None:
    assert message in problem_of(text)


@pytest.mark.parametrize(
    "text",
    [
        "aggregator: sk-secret-key",
        "aggregator: {model: lab/a, api_key: sk-secret-key}",
        PANEL + "layers: sk-secret-key",
        PANEL + "prompt_style: sk-secret-key",
        PANEL + "conclude: {by: sk-secret-key}",
        PANEL + "limits: {max_cost_usd: sk-secret-key}",
        PANEL + "limits: [sk-secret-key]",
        PANEL + "title: [sk-secret-key]",
    ],
)
def test_a_value_is_never_repeated(text: str) -> None:
    assert "secret" not in problem_of(text)
