"""Which models get which form of prompt under `prompt_style: auto`."""

import pytest

from moa_mcp.domain.model import Task
from moa_mcp.prompts.panel import messages_for
from moa_mcp.prompts.style import MIN_CACHED_CHARS, choose_form, is_strong


@pytest.mark.parametrize(
    "model",
    [
        "anthropic/claude-opus-4.8",
        "openrouter/anthropic/claude-sonnet-5",
        "openai/gpt-5.5",
        "google/gemini-3.1-pro",
        "openrouter/deepseek/deepseek-v4-pro-0813",
        "openrouter/x-ai/grok-5",
    ],
)
def test_strong_models_are_known_by_provider_and_name(model: str) -> None:
    assert is_strong(model)
    assert choose_form("auto", model, MIN_CACHED_CHARS) == "fenced"


@pytest.mark.parametrize(
    "model",
    [
        "lab/owl",
        "ollama/gpt-5.5",
        "ollama/qwen3:8b",
        "openai/gpt-5-mini",
        "openai/gpt-5.5-nano",
        "openrouter/openai/gpt-oss-20b",
        "google/gemini-3-flash",
        "anthropic/claude-haiku-4.5",
        "openrouter/deepseek/deepseek-v4-distill-8b",
        "",
    ],
)
def test_small_local_and_unknown_models_get_the_measured_form(model: str) -> None:
    assert not is_strong(model)
    assert choose_form("auto", model, 10 * MIN_CACHED_CHARS) == "tagged"


def test_a_beginning_too_short_to_be_cached_gets_the_measured_form() -> None:
    assert choose_form("auto", "openai/gpt-5.5", MIN_CACHED_CHARS - 1) == "tagged"


def test_drafts_do_not_count_as_the_beginning_and_background_does() -> None:
    def form_of(task: Task) -> str:
        messages = messages_for(task, ["d" * MIN_CACHED_CHARS], "auto", model="openai/gpt-5.5")
        return "fenced" if "<<draft 1 " in messages[-1].text else "tagged"

    assert form_of(Task("Q?")) == "tagged"
    assert form_of(Task("Q?", context="c" * MIN_CACHED_CHARS)) == "fenced"


@pytest.mark.parametrize("style", ["fenced", "tagged", "paper"])
def test_a_style_that_a_preset_names_holds_for_every_model(style: str) -> None:
    assert choose_form(style, "openai/gpt-5.5", 0) == choose_form(style, "ollama/qwen3:8b", 99_999) == style  # type: ignore[arg-type]
