"""`moa-mcp doctor`: what was found, and whether asks can work."""

from __future__ import annotations

import os

import pytest

from moa_mcp.cli.group import run
from tests.cli.fixtures import write_home
from tests.upstream.threaded import upstream_thread

Capture = pytest.CaptureFixture[str]
NOWHERE = "http://127.0.0.1:9/v1"


def rows(capsys: Capture) -> dict[str, str]:
    """What the doctor says, by the words that each line begins with."""
    parted = (line.partition("  ") for line in capsys.readouterr().out.splitlines())
    return {label.strip(): found.strip() for label, _, found in parted}


def test_asks_can_work_once_the_default_preset_has_its_keys(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    write_home(NOWHERE)
    monkeypatch.setenv("LAB_API_KEY", "lab-secret")

    assert run(["doctor"]) == 0
    found = rows(capsys)
    assert found["key of lab"] == "LAB_API_KEY set, not checked"
    assert found["key of openai"] == "OPENAI_API_KEY missing"
    assert found["configuration"].endswith("config.yaml (valid)")
    assert found["default preset"].startswith("panel: lab/p1 + lab/p2 + ")
    assert found["store"]
    assert any(line.startswith("Asks can work:") and "No key was checked" in line for line in found)
    assert not any("lab-secret" in line for line in found.values())


def test_a_default_preset_without_its_key_is_what_keeps_asks_from_working(capsys: Capture) -> None:
    write_home(NOWHERE)

    assert run(["doctor"]) == 2
    assert "Asks cannot work. The default preset, panel, needs LAB_API_KEY." in rows(capsys)


def test_a_placeholder_is_no_key_and_is_shown(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    write_home(NOWHERE)
    monkeypatch.setenv("LAB_API_KEY", "${LAB_API_KEY}")

    assert run(["doctor"]) == 2
    found = rows(capsys)
    assert found["key of lab"].startswith("LAB_API_KEY missing: it holds the placeholder ${LAB_API_KEY}: your client")
    assert "Asks cannot work. The default preset, panel, needs LAB_API_KEY." in found


def test_the_variables_of_headers_are_shown_and_a_key_in_quotation_marks_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    home = write_home(NOWHERE)
    entry = "{base_url: https://mine.example, api_key_env: MINE_KEY, headers: {x-team: $TEAM, x-pass: secret-of-mine}}"
    with (home / "config.yaml").open("a", encoding="utf-8") as file:
        file.write(f"  mine: {entry}\n")
    monkeypatch.setenv("MINE_KEY", '"sk-mine"')

    run(["doctor"])
    found = rows(capsys)
    assert found["key of mine"] == "MINE_KEY set, but in quotation marks: take them off"
    assert found["header of mine"] == "TEAM missing"
    assert not any(secret in line for line in found.values() for secret in ("secret-of-mine", "sk-mine"))


def test_a_named_pipe_in_place_of_a_file_is_reported_without_waiting(capsys: Capture) -> None:
    home = write_home(NOWHERE)
    os.mkfifo(home / "presets" / "pipe.yaml")
    (home / "config.yaml").unlink()
    os.mkfifo(home / "config.yaml")

    assert run(["doctor"]) == 2
    found = rows(capsys)
    assert found["broken preset"].startswith("presets/pipe.yaml: this is a named pipe, not a file")
    assert "not valid: config.yaml: this is a named pipe" in found["configuration"]


def test_a_default_preset_that_is_not_there_is_named(capsys: Capture) -> None:
    home = write_home(NOWHERE)
    (home / "config.yaml").write_text("default_preset: nobody\n", encoding="utf-8")

    assert run(["doctor"]) == 2
    assert any("The default preset, nobody, does not exist: correct default_preset in" in line for line in rows(capsys))


def test_a_mistake_in_the_configuration_is_shown_and_the_rest_is_checked(capsys: Capture) -> None:
    home = write_home(NOWHERE)
    (home / "config.yaml").write_text("limit: {}\n", encoding="utf-8")

    assert run(["doctor"]) == 2
    found = rows(capsys)
    assert "not valid: config.yaml, line 1: limit" in found["configuration"]
    assert "demo" in found["presets"]


def test_a_broken_preset_is_shown_with_its_place(capsys: Capture) -> None:
    home = write_home(NOWHERE)
    (home / "presets" / "torn.yaml").write_text("layerz: 2\n", encoding="utf-8")
    run(["doctor"])

    assert rows(capsys)["broken preset"].startswith("presets/torn.yaml, line 1: layerz")


def test_a_file_that_no_list_shows_because_of_its_name_is_shown(capsys: Capture) -> None:
    home = write_home(NOWHERE)
    (home / "presets" / "three-views.yml").write_text("aggregator: demo/a\n", encoding="utf-8")
    run(["doctor"])

    assert rows(capsys)["broken preset"].startswith("presets/three-views.yml: the name of this file")


def test_a_store_that_cannot_be_used_is_shown(capsys: Capture) -> None:
    home = write_home(NOWHERE)
    (home / "runs.db").mkdir()
    run(["doctor"])

    assert rows(capsys)["store"].startswith("Runs are kept in memory only")


def test_the_demo_counts_as_working_and_is_named_as_the_demo(capsys: Capture) -> None:
    home = write_home(NOWHERE)
    (home / "config.yaml").write_text("default_preset: demo\n", encoding="utf-8")

    assert run(["doctor"]) == 0
    assert any("only the demo panel answers" in line for line in rows(capsys))


def test_a_local_server_that_answers_is_counted_by_its_models(capsys: Capture) -> None:
    with upstream_thread(models=("one", "two")) as upstream:
        home = write_home(NOWHERE)
        config = f"providers:\n  ollama: {{base_url: '{upstream.base_url}'}}\n"
        (home / "config.yaml").write_text(config, encoding="utf-8")
        run(["doctor"])

    assert rows(capsys)["local ollama"] == f"{upstream.base_url} 2 models"
