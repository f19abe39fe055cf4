"""`moa_configure` over the protocol, in both eras."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Literal, TypeAlias

import pytest
import yaml
from jsonschema import validate
from mcp.types import (
    ElicitRequest,
    ElicitRequestFormParams,
    ElicitResult,
    ErrorData,
    InputRequiredResult,
    InputResponse,
)

from moa_mcp.config.settings import Paths
from moa_mcp.domain.preset import Preset
from moa_mcp.presets.library import PresetLibrary
from moa_mcp.server.tools.configure import CONFIGURE
from moa_mcp.testing.scripted import ScriptedProvider

Serve = Callable[..., AbstractAsyncContextManager[Any]]
Action: TypeAlias = Literal["accept", "decline", "cancel"]

TOOL = "moa_configure"
LIBRARY = PresetLibrary(None)
PACKAGED = [name for name in LIBRARY.names() if isinstance(LIBRARY.get(name), Preset)]
FIELDS: dict[str, Any] = {"layers": 3, "title": "Mine"}
SAVE: dict[str, Any] = {"save_preset": "mine", "base": "two", "fields": FIELDS}


def saved(home: Paths) -> dict[str, Any]:
    """The preset `mine` as its file has it."""
    preset: dict[str, Any] = yaml.safe_load((home.presets_folder / "mine.yaml").read_text(encoding="utf-8"))
    return preset


class Person:
    """Whoever sits at the client: answers every question in the same way, and keeps what was asked."""

    def __init__(self, action: Action) -> None:
        self.asked: list[str] = []
        self._action: Action = action

    async def __call__(self, context: Any, params: Any) -> ElicitResult:
        assert isinstance(params, ElicitRequestFormParams)
        self.asked.append(params.message)
        return ElicitResult(action=self._action, content={} if self._action == "accept" else None)


async def test_without_arguments_it_shows_the_settings_and_never_a_key(serve: Serve) -> None:
    async with serve(ScriptedProvider(str)) as served:
        result = await served.call(TOOL)

    keys = {provider["name"]: provider["key"] for provider in result.facts["providers"]}
    assert (result.facts["default_preset"], result.facts["revision"]) == ("two", 0)
    assert (keys["lab"], keys["far"]) == ("set", "missing")
    assert "key variable LAB_KEY is set" in result.text
    assert "key variable FAR_KEY is missing" in result.text
    assert "canary" not in f"{result}"


async def test_a_preset_is_saved_and_can_be_asked_at_once(serve: Serve, home: Paths) -> None:
    async with serve(ScriptedProvider(lambda call: call.id)) as served:
        result = await served.call(TOOL, **SAVE)
        run = (await served.ask(question="Q?", preset="mine")).facts

    assert result.facts["applied"]
    assert result.facts["diff"] in result.text
    assert result.facts["scope"] in result.text
    assert (saved(home)["layers"], saved(home)["title"], saved(home)["aggregator"]) == (3, "Mine", "lab/agg")
    assert run["calls_made"] == 5


async def test_a_dry_run_shows_the_diff_and_writes_nothing(serve: Serve, home: Paths) -> None:
    async with serve(ScriptedProvider(str)) as served:
        result = await served.call(TOOL, **SAVE, dry_run=True)

    assert not result.facts["applied"]
    assert "+layers: 3" in result.facts["diff"]
    assert not (home.presets_folder / "mine.yaml").exists()


async def test_a_change_can_be_undone(serve: Serve) -> None:
    async with serve(ScriptedProvider(str)) as served:
        await served.call(TOOL, default_preset="demo")
        undone = await served.call(TOOL, undo=True)
        settings = await served.call(TOOL)

    assert undone.facts["revision"] == 2
    assert settings.facts["default_preset"] == "two"


@pytest.mark.parametrize("form", [dict, json.dumps])
async def test_lists_and_mappings_may_come_as_the_text_of_one(
    serve: Serve, home: Paths, form: Callable[[Any], Any]
) -> None:
    as_text = {
        "proposers": '["lab/a", {"model": "lab/b", "temperature": 0.5}]',
        "limits": '{"max_calls": 9}',
    }
    async with serve(ScriptedProvider(str)) as served:
        result = await served.call(TOOL, **{**SAVE, "fields": form({**FIELDS, **as_text})})

    assert not result.is_error
    assert saved(home)["title"] == "Mine"
    assert saved(home)["proposers"] == ["lab/a", {"model": "lab/b", "temperature": 0.5}]
    assert saved(home)["limits"] == {"max_calls": 9}


async def test_null_removes_a_key_but_where_null_is_a_value(serve: Serve, home: Paths) -> None:
    screened = {"screen": {"by": "diversity", "keep": 1}, "straggler_grace_seconds": 5}
    async with serve(ScriptedProvider(str)) as served:
        await served.call(TOOL, **{**SAVE, "fields": {**FIELDS, **screened}})
        before = saved(home)
        await served.call(TOOL, save_preset="mine", fields=dict.fromkeys(["title", *screened]))

    assert before["screen"] == {"by": "diversity", "keep": 1}
    assert saved(home).keys() == before.keys() - {"title", "screen"}
    assert saved(home)["straggler_grace_seconds"] is None


@pytest.mark.parametrize("nothing", [None, ""])
async def test_without_a_preset_to_save_null_and_an_empty_text_say_nothing(serve: Serve, nothing: str | None) -> None:
    everything = dict.fromkeys(CONFIGURE.arguments.model_fields, nothing)
    async with serve(ScriptedProvider(str)) as served:
        settings = await served.call(TOOL, **everything)
        changed = await served.call(TOOL, **{**everything, "default_preset": "demo"})

    assert settings.facts["default_preset"] == "two"
    assert changed.facts["applied"]


async def test_a_person_who_agrees_is_shown_the_change_once(serve: Serve, home: Paths) -> None:
    person = Person("accept")
    async with serve(ScriptedProvider(str), elicitation_callback=person) as served:
        result = await served.call(TOOL, **SAVE)

    assert result.facts["applied"]
    assert saved(home)["layers"] == 3
    [question] = person.asked
    assert "+layers: 3" in question


@pytest.mark.parametrize("action", ["decline", "cancel"])
async def test_nothing_is_changed_when_the_person_does_not_agree(serve: Serve, home: Paths, action: Action) -> None:
    async with serve(ScriptedProvider(str), elicitation_callback=Person(action)) as served:
        result = await served.call(TOOL, **SAVE)
        settings = await served.call(TOOL)

    assert result.is_error
    assert "did not agree, so nothing was changed" in result.text
    assert settings.facts["revision"] == 0
    assert not (home.presets_folder / "mine.yaml").exists()


@pytest.mark.parametrize("mode", ["legacy"], indirect=True)  # from 2026-07-28 on there is no request to refuse
async def test_nothing_is_changed_when_the_client_fails_to_ask(serve: Serve, home: Paths) -> None:
    async def fail(context: Any, params: Any) -> ErrorData:
        return ErrorData(code=-32603, message="No window.")

    async with serve(ScriptedProvider(str), elicitation_callback=fail) as served:
        result = await served.call(TOOL, **SAVE)

    assert result.is_error
    assert "failed to ask" in result.text
    assert not (home.presets_folder / "mine.yaml").exists()


@pytest.mark.parametrize("mode", ["auto"], indirect=True)  # with a handshake it is asked within the one call
async def test_an_agreement_counts_for_the_very_change_it_was_given_for(serve: Serve) -> None:
    yes: dict[str, InputResponse] = {"consent": ElicitResult(action="accept", content={})}
    async with serve(ScriptedProvider(str), elicitation_callback=Person("accept")) as served:
        call = served.client.session.call_tool
        first = await call(TOOL, SAVE, allow_input_required=True)
        answered = {
            "input_responses": yes,
            "request_state": first.request_state,
            "allow_input_required": True,
        }
        other = await call(TOOL, {**SAVE, "fields": {"layers": 5}}, **answered)

    assert isinstance(other, InputRequiredResult)
    [question] = (other.input_requests or {}).values()
    assert isinstance(question, ElicitRequest)
    assert "+layers: 5" in question.params.message


async def test_a_person_is_not_asked_about_what_cannot_be_done_or_changes_nothing(serve: Serve) -> None:
    person = Person("accept")
    questions: list[dict[str, Any]] = [{}, {**SAVE, "dry_run": True}, {**SAVE, "fields": {"aggregator": "elsewhere/m"}}]
    async with serve(ScriptedProvider(str), elicitation_callback=person) as served:
        for arguments in questions:
            await served.call(TOOL, **arguments)

    assert not person.asked


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"dry_run": True}, "Name a change"),
        ({"fields": {"layers": 2}}, "name the preset to save"),
        ({**SAVE, "fields": {"aggregator": "elsewhere/m"}}, "not declared"),
        ({**SAVE, "fields": {"limits": {"max_calls": 10_000}}}, "can only be lowered"),
        ({**SAVE, "fields": {"layers": 99}}, "layers: this value does not fit. Expected less than or equal to 10"),
        ({**SAVE, "fields": {"proposers": "lab/a"}}, "proposers: this value does not fit. Expected a list"),
        ({**SAVE, "fields": {"layer": 3}}, "A preset has no field 'layer'. Known, nearest first: layers"),
        ({**SAVE, "fields": "layers: 3"}, "Argument fields: this value does not fit. Expected"),
        ({**SAVE, "fields": {"extra_body": {}}}, "extra_body cannot be set from here"),
        ({**SAVE, "fields": {"proposers": [{"model": "lab/a", "search": True}]}}, "search cannot be set from here"),
        ({**SAVE, "fields": {"route": {"by": "sk-canary"}}}, "route"),
        ({**SAVE, "layers": 3}, "no argument 'layers'"),
        ({"default_preset": "tow"}, "There is no preset 'tow'"),
        ({"default_preset": "demo", "revision": 7}, "at revision 0, not 7"),
        ({"base_url": "http://sk-canary"}, "no argument 'base_url'"),
        ({"api_key": "sk-canary"}, "no argument 'api_key'"),
    ],
)
async def test_what_cannot_be_changed_from_here_is_an_error_in_plain_words(
    serve: Serve, arguments: dict[str, Any], expected: str
) -> None:
    async with serve(ScriptedProvider(str)) as served:
        result = await served.call(TOOL, **arguments)
        settings = await served.call(TOOL)

    assert result.is_error
    assert expected in result.text
    assert "sk-canary" not in result.text
    assert settings.facts["revision"] == 0


def test_every_field_of_a_preset_is_in_the_schema_in_the_words_that_describe_it() -> None:
    shown = CONFIGURE.listed().input_schema["properties"]["fields"]["properties"]
    fields = Preset.model_json_schema()["properties"]

    assert list(shown) == [name for name in Preset.model_fields if name != "name"]
    assert [part["description"] for part in shown.values()] == [fields[name]["description"] for name in shown]


@pytest.mark.parametrize("name", PACKAGED)
def test_the_schema_takes_every_packaged_preset_as_fields(name: str) -> None:
    preset = yaml.safe_load(LIBRARY.text(name))
    preset.pop("name", None)

    validate({"save_preset": "mine", "fields": preset}, CONFIGURE.listed().input_schema)


def test_the_schema_shows_the_kinds_of_a_stage_and_the_keys_of_each() -> None:
    conclude = CONFIGURE.listed().input_schema["properties"]["fields"]["properties"]["conclude"]

    assert {"synthesize", "vote", "council"} <= set(conclude["properties"]["by"]["enum"])
    assert {"window", "for", "pattern"} <= conclude["properties"].keys()
