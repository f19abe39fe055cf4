"""`moa_list_presets` over the protocol, in both eras."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
import yaml

from moa_mcp.config.settings import Paths
from moa_mcp.presets.library import PresetLibrary
from moa_mcp.testing.scripted import ScriptedProvider

Serve = Callable[..., AbstractAsyncContextManager[Any]]

LIST = "moa_list_presets"


async def test_presets_are_listed_with_the_same_facts_as_text_and_as_structure(serve: Serve) -> None:
    async with serve(ScriptedProvider(str)) as served:
        result = await served.call(LIST, detail=True)

    presets = {preset["name"]: preset for preset in result.facts["presets"]}
    assert {"two", "locked", "demo", "moa"} <= set(presets)
    assert presets["two"] == {
        "name": "two",
        "title": "Two layers",
        "description": "",
        "source": "user",
        "usable": True,
        "missing": [],
        "layers": 2,
        "proposers": ["lab/p", "lab/p"],
        "aggregator": "lab/agg",
        "calls": 3,
        "serial_rounds": 2,
        "estimated_cost_usd": None,
        "times_plain_price": None,
        "seconds": 24,
        "default": True,
        "problem": None,
    }
    for fact in ("**two** (user, the default)", "3 calls in 2 rounds", "price unknown", "lab/p, lab/p"):
        assert fact in result.text
    assert "Missing key variables: FAR_KEY." in result.text


async def test_without_a_name_each_preset_is_a_row_to_choose_by(serve: Serve) -> None:
    async with serve(ScriptedProvider(str)) as served:
        result = await served.call(LIST)
        page = json.loads((await served.client.read_resource("moa://presets")).contents[0].text)

    rows = {row["name"]: row for row in result.facts["presets"]}
    assert {*PresetLibrary(None).names(), "two", "locked"} == set(rows)
    assert rows["two"] == {
        "name": "two",
        "title": "Two layers",
        "usable": True,
        "calls": 3,
        "times_plain_price": None,
        "seconds": 24,
        "default": True,
    }
    assert result.facts["presets"][0] == rows["two"]
    assert rows["moa"]["times_plain_price"] > 5
    assert rows["demo"]["seconds"] is None
    assert "- two: Two layers · 3 calls · 24 s · default\n" in result.text
    assert "- locked: Locked · 2 calls · 24 s · not usable\n" in result.text
    assert page == result.facts


@pytest.mark.parametrize(("title", "count", "left_out"), [("long title ", 18, False), ("Ünïcödé ", 99, True)])
async def test_the_list_stays_small_with_many_presets(
    serve: Serve, home: Paths, title: str, count: int, left_out: bool
) -> None:
    for number in range(count):
        panel = f"{{title: {(title * 20)[:100]}, proposers: [lab/p], aggregator: lab/agg}}"
        (home.presets_folder / f"one-of-many-{number:02}.yaml").write_text(panel, encoding="utf-8")
    async with serve(ScriptedProvider(str)) as served:
        result = await served.call(LIST)

    assert len(result.text.encode()) + len(json.dumps(result.facts)) < 10_000
    assert ("left_out" in result.facts) == left_out
    every = len(PresetLibrary(None).names()) + 2 + count
    assert len(result.facts["presets"]) + result.facts.get("left_out", 0) == every
    if left_out:
        assert f"{result.facts['left_out']} more presets: `detail: true` lists all" in result.text


async def test_one_preset_comes_with_its_definition(serve: Serve) -> None:
    async with serve(ScriptedProvider(str)) as served:
        result = await served.call(LIST, name="two")

    assert yaml.safe_load(result.facts["definition"])["title"] == "Two layers"
    assert result.facts["definition"] in result.text
    assert [preset["name"] for preset in result.facts["presets"]] == ["two"]


async def test_a_broken_preset_is_listed_with_what_is_wrong_and_hides_no_other(serve: Serve, home: Paths) -> None:
    (home.presets_folder / "broken.yaml").write_text("layers: none", encoding="utf-8")
    async with serve(ScriptedProvider(str)) as served:
        result = await served.call(LIST)
        alone = await served.call(LIST, name="broken")

    presets = {preset["name"]: preset for preset in result.facts["presets"]}
    assert not presets["broken"]["usable"]
    assert "- broken: broken · broken · not usable" in result.text
    assert presets["two"]["usable"]
    [broken] = alone.facts["presets"]
    assert broken["problem"] in alone.text
    assert "definition" not in alone.facts


async def test_an_unknown_preset_is_an_error_that_names_the_nearest(serve: Serve) -> None:
    async with serve(ScriptedProvider(str)) as served:
        result = await served.call(LIST, name="tow")

    assert result.is_error
    assert "no preset 'tow'. Known, nearest first: two" in result.text
