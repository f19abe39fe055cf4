"""`moa_list_presets` over the protocol, in both eras."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import yaml

from moa_mcp.config.settings import Paths
from moa_mcp.testing.scripted import ScriptedProvider

Serve = Callable[..., AbstractAsyncContextManager[Any]]

LIST = "moa_list_presets"


async def test_presets_are_listed_with_the_same_facts_as_text_and_as_structure(serve: Serve) -> None:
    async with serve(ScriptedProvider(str)) as served:
        result = await served.call(LIST)

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
        "default": True,
        "problem": None,
    }
    for fact in ("**two** (user, the default)", "3 calls in 2 rounds", "price unknown", "lab/p, lab/p"):
        assert fact in result.text
    assert "Missing key variables: FAR_KEY." in result.text


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

    presets = {preset["name"]: preset for preset in result.facts["presets"]}
    assert presets["broken"]["problem"]
    assert presets["broken"]["problem"] in result.text
    assert presets["two"]["usable"]


async def test_an_unknown_preset_is_an_error_that_names_the_nearest(serve: Serve) -> None:
    async with serve(ScriptedProvider(str)) as served:
        result = await served.call(LIST, name="tow")

    assert result.is_error
    assert "no preset 'tow'. Known, nearest first: two" in result.text
