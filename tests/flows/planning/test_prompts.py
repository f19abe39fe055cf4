"""The prompts of a preset can be read before anything is sent."""

from __future__ import annotations

import json
import re

import pytest

from moa_mcp.flows.planning.prompts import CODE, QUESTION, Prompt, prompts_of
from moa_mcp.presets.library import PresetLibrary
from tests.flows.panel import a_panel, packaged

PRESETS = [name for name in PresetLibrary(None).names() if name not in {"auto", "forge"}]


def text_of(prompt: Prompt) -> str:
    return "\n\n".join(message.text for message in prompt.messages)


def test_calls_with_the_same_messages_share_a_prompt() -> None:
    proposers, later, aggregator = prompts_of(a_panel(slots=3, layers=3))

    assert [call.id for call in proposers.calls] == ["1.1", "1.2", "1.3"]
    assert text_of(proposers) == QUESTION
    assert [call.id for call in later.calls] == ["2.1", "2.2", "2.3"]
    assert [call.id for call in aggregator.calls] == ["3.1"]


def test_drafts_are_placeholders_that_name_their_call_and_model_and_the_code_is_a_word() -> None:
    (*_, aggregator) = prompts_of(a_panel(slots=2))

    assert f"<response 2 {CODE}>\n[The text of proposer 1.2, lab/p2.]\n</response 2 {CODE}>" in text_of(aggregator)


@pytest.mark.parametrize("name", PRESETS)
def test_every_packaged_preset_shows_the_prompts_of_all_its_judges(name: str) -> None:
    prompts = prompts_of(packaged(name))

    assert all(QUESTION in text_of(prompt) or prompt.calls[0].role == "roles" for prompt in prompts)
    assert not any(re.search(r"\b0{16}\b", text_of(prompt)) for prompt in prompts)


@pytest.mark.parametrize("name", PRESETS)
def test_no_prompt_claims_that_the_writers_work_apart_and_every_example_is_json(name: str) -> None:
    for prompt in prompts_of(packaged(name)):
        assert "did not see one another" not in text_of(prompt)
        if found := re.search(r"one JSON object and nothing else.*?: (\{.*\})$", text_of(prompt), re.MULTILINE):
            assert isinstance(json.loads(found[1]), dict)


def test_windows_say_that_the_first_drafts_are_one_and_the_same() -> None:
    first, second, *_ = [prompt for prompt in prompts_of(packaged("self-moa-seq")) if prompt.calls[0].layer == 2]

    assert "one and the same" not in text_of(first)
    assert "Drafts 1 to 3 are one and the same text" in text_of(second)
