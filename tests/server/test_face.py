"""What a client learns about the server before its first call."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from mcp import MCPError

from moa_mcp.domain.model import Task
from moa_mcp.domain.preset import Preset
from moa_mcp.flows.panel import ask_panel
from moa_mcp.flows.planning.dry_run import dry_run
from moa_mcp.presets.library import PresetLibrary
from moa_mcp.server.build import INSTRUCTIONS
from moa_mcp.server.tools.registry import TOOLS
from moa_mcp.testing.scripted import ScriptedProvider

Serve = Callable[..., AbstractAsyncContextManager[Any]]

LONGEST = 2048
"""Letters of the instructions; a widely used client cuts off the rest without a word."""

CHARACTERS_OF_A_TOKEN = 3.5
"""Tokenizers fetch their tables, so tokens are estimated: these schemas had 3.8 characters a token when measured."""

MAX_TOKENS = {"moa_ask": 1_000, "moa_list_presets": 400, "moa_configure": 2_100}
"""What each client pays for a tool in every conversation, used or not: its name, description and arguments."""

LONGEST_OF_A_TOOL = 1024
"""Letters of a tool's description: OpenAI's limit, at which LlamaIndex refuses the tool."""


async def test_the_server_says_who_it_is(serve: Serve) -> None:
    async with serve(ScriptedProvider(str)) as served:
        info = served.client.server_info
        instructions = served.client.instructions

    assert (info.name, info.title) == ("moa-mcp", "Mixture-of-Agents")
    assert info.version
    assert info.description
    assert instructions == INSTRUCTIONS
    assert len(instructions) < LONGEST


async def test_there_are_three_tools_in_the_same_order_for_everybody(serve: Serve) -> None:
    async with serve(ScriptedProvider(str)) as served:
        tools = (await served.client.list_tools()).tools

    assert [tool.name for tool in tools] == ["moa_ask", "moa_list_presets", "moa_configure"]
    assert tools == [tool.listed() for tool in TOOLS.values()]


@pytest.mark.parametrize("tool", [tool.listed() for tool in TOOLS.values()], ids=list(TOOLS))
def test_a_tool_says_all_that_a_client_shows_or_acts_on(tool: Any) -> None:
    hints = tool.annotations
    assert tool.title
    assert 0 < len(tool.description) <= LONGEST_OF_A_TOOL
    assert None not in (
        hints.read_only_hint,
        hints.destructive_hint,
        hints.idempotent_hint,
        hints.open_world_hint,
    )
    Draft202012Validator.check_schema(tool.input_schema)
    Draft202012Validator.check_schema(tool.output_schema)
    assert tool.input_schema["type"] == tool.output_schema["type"] == "object"


@pytest.mark.parametrize("tool", [tool.listed() for tool in TOOLS.values()], ids=list(TOOLS))
def test_arguments_are_described_in_what_the_converters_of_clients_know(tool: Any) -> None:
    # Google's SDK fails on a boolean additionalProperties and on exclusive bounds; others follow no references.
    for part in parts_of(tool.input_schema):
        assert not part.keys() & {"$ref", "$defs", "allOf", "oneOf", "not", "const", "prefixItems", "patternProperties"}
        assert not part.keys() & {"exclusiveMinimum", "exclusiveMaximum"}
        assert part.get("additionalProperties", {}) == {}
        assert isinstance(part.get("type", ""), str)


@pytest.mark.parametrize("tool", [tool.listed() for tool in TOOLS.values()], ids=list(TOOLS))
def test_a_tool_takes_few_tokens_of_every_conversation(tool: Any) -> None:
    told = json.dumps([tool.name, tool.description, tool.input_schema], separators=(",", ":"))

    assert len(told) / CHARACTERS_OF_A_TOKEN <= MAX_TOKENS[tool.name]


def parts_of(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A schema and all that stand in it."""
    yield schema
    inner = [*schema.get("properties", {}).values(), *schema.get("anyOf", []), *filter(None, [schema.get("items")])]
    for part in inner:
        yield from parts_of(part)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (f"{tool.name}.{name}", shown)
        for tool in TOOLS.values()
        for name, shown in tool.listed().input_schema["properties"].items()
    ],
)
def test_an_argument_is_described_and_bounded_and_null_where_null_says_something(
    name: str, shown: dict[str, Any]
) -> None:
    assert shown["description"].endswith(".")
    assert "title" not in shown
    for part in (shown, *shown.get("properties", {}).values()):
        assert ({"type": "null"} in part.get("anyOf", [])) == ("Null: " in part["description"])
    match shown.get("type"):
        case "string":
            assert shown.keys() & {"maxLength", "enum"}
        case "number":
            assert "minimum" in shown
        case "integer":
            assert "minimum" in shown
        case kind:
            assert kind in {"boolean", "object", "array", None}


def test_the_numbers_of_calls_in_the_texts_are_those_of_the_packaged_presets() -> None:
    library = PresetLibrary(None)
    presets = [preset for name in library.names() if isinstance(preset := library.get(name), Preset)]
    calls = sorted(dry_run(ask_panel(Task("Why?"), preset)).calls for preset in presets)

    assert (calls[0], calls[-1]) == (3, 39)
    assert "3 to 40 paid model calls" in TOOLS["moa_ask"].description
    assert "3 to 40 paid model calls" in INSTRUCTIONS


async def test_the_question_says_to_whom_it_is_sent(serve: Serve) -> None:
    [ask] = [tool.listed() for tool in TOOLS.values() if tool.name == "moa_ask"]
    assert "third-party providers" in ask.input_schema["properties"]["question"]["description"]


async def test_an_unknown_tool_is_an_error_of_the_protocol_that_names_the_known_ones(serve: Serve) -> None:
    async with serve(ScriptedProvider(str)) as served:
        with pytest.raises(MCPError, match=r"no tool 'ask'\. Known: moa_ask, moa_list_presets") as unknown:
            await served.client.call_tool("ask", {})

    assert unknown.value.error.code == -32602


async def test_only_what_is_served_is_promised(serve: Serve) -> None:
    async with serve(ScriptedProvider(str)) as served:
        promised = served.client.server_capabilities

    for kind in (promised.tools, promised.resources, promised.prompts, promised.completions):
        assert kind is not None
    changing = [kind.list_changed for kind in (promised.resources, promised.tools, promised.prompts)]
    assert changing == [True, False, False]
    assert promised.logging is None
    assert promised.experimental is None
