"""A preset as a tree of text."""

from typing import Any

from moa_mcp.cli.view.preset_tree import tree
from moa_mcp.domain.preset import Preset

PAIR: dict[str, Any] = {"name": "pair", "proposers": ["lab/p", "lab/q"], "aggregator": "lab/a"}


def test_two_layers_are_the_proposers_and_the_aggregator() -> None:
    assert tree(Preset.model_validate(PAIR)) == [
        "pair",
        "├── layer 1: proposers",
        "│   ├── lab/p",
        "│   └── lab/q",
        "└── layer 2: aggregator lab/a",
    ]


def test_further_layers_of_proposers_are_one_line() -> None:
    three = tree(Preset.model_validate({**PAIR, "layers": 3}))
    five = tree(Preset.model_validate({**PAIR, "layers": 5}))

    assert three[4] == "├── layer 2: the same, reading the drafts before it"
    assert five[4] == "├── layers 2 to 4: the same, each reading the drafts before it"


def test_one_layer_is_the_aggregator_alone() -> None:
    assert tree(Preset.model_validate({**PAIR, "layers": 1})) == ["pair", "└── layer 1: aggregator lab/a"]


def test_settings_of_a_model_and_its_fallbacks_are_shown() -> None:
    slot = {"model": "lab/p", "temperature": 0.7, "samples": 6}
    last = {"model": "lab/a", "effort": "high", "fallbacks": ["lab/b"]}
    lines = tree(Preset.model_validate({**PAIR, "proposers": [slot], "aggregator": last}))

    assert lines[2] == "│   └── lab/p  (temperature 0.7, samples 6)"
    assert lines[3:] == ["└── layer 2: aggregator lab/a  (effort high)", "    └── if it fails: lab/b"]


def test_lists_are_shown_as_a_person_writes_them() -> None:
    slot = {"model": "lab/p", "skills": ["proof", "law"]}

    assert tree(Preset.model_validate({**PAIR, "proposers": [slot]}))[2] == "│   └── lab/p  (skills proof + law)"


def test_stages_stand_where_they_act() -> None:
    stages = {
        "route": {"by": "difficulty", "easy": "lab/e"},
        "screen": {"by": "judge", "keep": 1, "model": "lab/j"},
        "conclude": {"by": "select", "for": "best"},
    }
    assert tree(Preset.model_validate({**PAIR, **stages})) == [
        "pair",
        "├── route: by difficulty, easy lab/e",
        "├── layer 1: proposers",
        "│   ├── lab/p",
        "│   └── lab/q",
        "├── after each layer of proposers",
        "│   └── screen: by judge, model lab/j, keep 1",
        "└── layer 2: by select, for best; aggregator lab/a",
    ]


def test_a_preset_in_a_slot_is_a_tree_in_the_tree() -> None:
    nested = {"preset": "pair", "plan": PAIR}
    lines = tree(Preset.model_validate({**PAIR, "name": "outer", "proposers": [nested, "lab/z"]}))

    assert lines[2:6] == [
        "│   ├── preset pair",
        "│   │   ├── layer 1: proposers",
        "│   │   │   ├── lab/p",
        "│   │   │   └── lab/q",
    ]
