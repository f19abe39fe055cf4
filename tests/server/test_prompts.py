"""Prompts and completions over the protocol, in both eras."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
from mcp import Client, MCPError
from mcp.types import Prompt, PromptReference, ResourceTemplateReference, TextContent

from moa_mcp.domain.model import Call
from moa_mcp.testing.scripted import ScriptedProvider

Serve = Callable[..., AbstractAsyncContextManager[Any]]


def reply_to(call: Call) -> str:
    return f"said by {call.id}"


async def written(client: Client, name: str, **arguments: str) -> str:
    """The one message of a prompt."""
    [message] = (await client.get_prompt(name, arguments)).messages
    assert isinstance(message.content, TextContent)
    return message.content.text


async def test_the_prompts_say_what_they_are_for_and_what_they_need(serve: Serve) -> None:
    async with serve(ScriptedProvider(reply_to)) as served:
        prompts: list[Prompt] = (await served.client.list_prompts()).prompts

    needs = {p.name: [(a.name, a.required) for a in p.arguments or []] for p in prompts}
    assert needs == {"moa": [("question", True), ("preset", False)], "moa_compare": [("run_id", True)]}
    for prompt in prompts:
        assert prompt.title
        assert prompt.description
        assert all(argument.description for argument in prompt.arguments or [])


async def test_the_prompt_to_ask_holds_the_question_and_the_preset(serve: Serve) -> None:
    async with serve(ScriptedProvider(reply_to)) as served:
        plain = await written(served.client, "moa", question="Why?")
        with_preset = await written(served.client, "moa", question="Why?", preset="two")

    assert plain.endswith("Question: Why?")
    assert "preset" not in plain
    assert 'moa_ask with preset "two"' in with_preset


async def test_the_prompt_to_compare_holds_the_drafts_between_marks(serve: Serve) -> None:
    async with serve(ScriptedProvider(reply_to)) as served:
        run_id = (await served.ask(question="Why?")).facts["run_id"]
        words = await written(served.client, "moa_compare", run_id=run_id)

    before, _, fenced = words.partition("<<run ")
    assert "Question: Why?" in before
    assert "said by" not in before
    for text in ("said by 1.1", "said by 1.2", "said by 2.1"):
        assert text in fenced


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("mao", {}, "There is no prompt 'mao'. Known: moa, moa_compare"),
        ("moa", {}, "needs the argument question"),
        ("moa", {"question": " "}, "needs the argument question"),
        ("moa_compare", {"run_id": "none"}, "There is no run 'none'"),
    ],
)
async def test_a_prompt_that_cannot_be_written_says_why(
    serve: Serve, name: str, arguments: dict[str, str], expected: str
) -> None:
    async with serve(ScriptedProvider(reply_to)) as served:
        with pytest.raises(MCPError, match=expected) as refused:
            await served.client.get_prompt(name, arguments)

    assert refused.value.error.code == -32602


async def test_presets_and_runs_are_completed_in_every_prompt_and_resource(serve: Serve) -> None:
    async with serve(ScriptedProvider(reply_to)) as served:
        run_id = (await served.ask(question="Why?")).facts["run_id"]
        found = [
            (await served.client.complete(reference, {"name": argument, "value": typed})).completion.values
            for reference, argument, typed in [
                (PromptReference(name="moa"), "preset", "tw"),
                (ResourceTemplateReference(uri="moa://presets/{name}"), "name", "lock"),
                (PromptReference(name="moa_compare"), "run_id", run_id[:3]),
                (ResourceTemplateReference(uri="moa://runs/{run_id}"), "run_id", ""),
                (PromptReference(name="moa"), "preset", "nothing like it"),
                (PromptReference(name="moa"), "question", ""),
            ]
        ]

    assert found == [["two"], ["locked"], [run_id], [run_id], [], []]
