"""`moa-mcp presets`: the table, one in full, the check of a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from moa_mcp.cli.group import run
from tests.cli.fixtures import write_home

Capture = pytest.CaptureFixture[str]


def test_the_table_shows_the_shape_of_each_preset_and_its_missing_key(capsys: Capture) -> None:
    write_home("http://127.0.0.1:9/v1")

    assert run(["presets"]) == 0
    head, *rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    by_name = {row[0]: row[1:] for row in rows}
    assert head == ["PRESET", "LAYERS", "PROPOSERS", "AGGREGATOR", "CALLS", "USABLE"]
    assert by_name["panel"] == ["*", "3", "6", "lab/chief", "13", "needs", "LAB_API_KEY"]
    assert by_name["demo"][-1] == "yes"


def test_a_broken_preset_is_a_row_and_hides_no_other(capsys: Capture) -> None:
    home = write_home("http://127.0.0.1:9/v1")
    (home / "presets" / "torn.yaml").write_text("layerz: 2\n", encoding="utf-8")

    assert run(["presets"]) == 0
    out = capsys.readouterr().out
    (row,) = [line for line in out.splitlines() if line.startswith("torn ")]
    assert "presets/torn.yaml, line 1: layerz" in row
    assert "\npanel *" in out


def test_a_preset_is_shown_with_its_shape_calls_and_price(capsys: Capture) -> None:
    write_home("http://127.0.0.1:9/v1")

    assert run(["presets", "show", "panel"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("Three layers of six (user, the default)\n")
    assert "│   ├── lab/p1\n" in out
    assert "└── layer 3: aggregator lab/chief\n    └── if it fails: lab/deputy\n" in out
    assert "3 layers · 13 calls in 3 rounds\nat least 13 calls in 3 rounds, at most 16 in 6, retries not" in out
    assert "\nprice unknown for" in out
    assert out.endswith("usable: needs LAB_API_KEY\n")


def test_the_prompts_of_a_preset_are_shown_under_the_calls_that_get_them(capsys: Capture) -> None:
    write_home("http://127.0.0.1:9/v1")

    assert run(["presets", "prompts", "panel"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("3 prompts of 13 calls, if nothing fails.\n")
    assert "=== layer 3, aggregator: lab/chief ===\n1 call: 3.1\n--- system ---\nYou have been provided" in out
    assert (
        "<response 6 CODE>\n[The text of proposer 2.6, lab/p6.]\n</response 6 CODE>\n--- user ---\n[The question.]"
        in out
    )


def test_an_unknown_preset_brings_the_known_ones_nearest_first(capsys: Capture) -> None:
    write_home("http://127.0.0.1:9/v1")

    assert run(["presets", "show", "pannel"]) == 2
    assert "nearest first: panel, " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "proposers: [labb/x]\naggregator: lab/c\n",
            "there is no provider 'labb'. Expected one of, nearest first, lab, ",
        ),
        (
            "proposers: [preset: paneel]\naggregator: lab/c\n",
            "there is no preset 'paneel'. Expected one of, nearest first, panel, ",
        ),
    ],
)
def test_the_error_for_an_undeclared_name_lists_the_known_ones_nearest_first(
    text: str, message: str, tmp_path: Path, capsys: Capture
) -> None:
    write_home("http://127.0.0.1:9/v1")
    (tmp_path / "pair.yaml").write_text(text, encoding="utf-8")

    assert run(["presets", "validate", str(tmp_path / "pair.yaml")]) == 2
    assert message in capsys.readouterr().err


def test_a_line_below_the_table_says_that_the_default_preset_is_missing(capsys: Capture) -> None:
    home = write_home("http://127.0.0.1:9/v1")
    (home / "config.yaml").write_text("default_preset: nobody\n", encoding="utf-8")

    assert run(["presets"]) == 0
    out, err = capsys.readouterr()
    assert "*" not in out
    assert "The default preset, nobody, does not exist" in err


def test_a_valid_file_is_shown_with_a_line_that_says_so(tmp_path: Path, capsys: Capture) -> None:
    file = tmp_path / "pair.yaml"
    file.write_text("proposers: [demo/a, demo/b]\naggregator: demo/c\n", encoding="utf-8")

    assert run(["presets", "validate", str(file)]) == 0
    out = capsys.readouterr().out
    assert out.startswith("pair\n├── layer 1: proposers\n")
    assert out.endswith("pair.yaml is valid.\n")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("pair.yaml", "proposers: [demo/a]\nagregator: demo/c\n", "pair.yaml, line 2: agregator: "),
        ("pair.yaml", "layers: 2\naggregator: demo/c\n", "pair.yaml: a preset of more than one layer"),
        (
            "pair.yaml",
            "proposers:\n  - lab/a\n  - {model: labb/x}\naggregator: lab/c\n",
            "pair.yaml, line 3: proposers[1].model: ",
        ),
        ("pair.yaml", "proposers: [preset: paneel]\naggregator: lab/c\n", "pair.yaml, line 1: proposers[0].preset: "),
        ("pair.yaml", "proposers: [lab/a]\naggregator: {model: lab/c, fallbacks: [labb/x]}\n", "no provider 'labb'"),
        ("pair.yaml", "aggregator: lab/c\nproposers:\n  - lab/a\n  - preset: pair\n", "pair.yaml, line 4: proposers"),
        ("My Pair.yaml", "aggregator: demo/c\n", "My Pair.yaml: the name of this file"),
        ("pair.txt", "aggregator: demo/c\n", "pair.txt: the name of this file"),
    ],
)
def test_a_mistake_is_exit_code_2_with_its_place(
    name: str, text: str, message: str, tmp_path: Path, capsys: Capture
) -> None:
    write_home("http://127.0.0.1:9/v1")
    (tmp_path / name).write_text(text, encoding="utf-8")

    assert run(["presets", "validate", str(tmp_path / name)]) == 2
    assert message in capsys.readouterr().err


def test_a_circle_through_other_presets_is_a_mistake_of_the_file_and_of_the_row(
    tmp_path: Path, capsys: Capture
) -> None:
    home = write_home("http://127.0.0.1:9/v1")
    for name, inner in (("hen", "egg"), ("egg", "hen")):
        text = f"aggregator: lab/c\nproposers:\n  - preset: {inner}\n"
        (home / "presets" / f"{name}.yaml").write_text(text, encoding="utf-8")

    assert run(["presets", "validate", str(home / "presets" / "hen.yaml")]) == 2
    err = capsys.readouterr().err
    assert "hen.yaml, line 3: proposers" in err
    assert "hen > egg > hen" in err
    assert run(["presets"]) == 0
    rows = capsys.readouterr().out.splitlines()
    assert [("no circle" in row or "too deep" in row) for row in rows if row.startswith(("egg ", "hen "))] == [True] * 2


def test_a_file_that_is_not_there_is_wrong_usage(tmp_path: Path, capsys: Capture) -> None:
    assert run(["presets", "validate", str(tmp_path / "gone.yaml")]) == 2
    assert "does not exist" in capsys.readouterr().err
