"""What a provider is asked to keep in its prompt cache, and what it can find there by itself."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from benchmarks.caching import AutomaticCache, MarkedCache, measure
from moa_mcp.domain.endpoints import Endpoint
from moa_mcp.domain.model import ChatCall, Message
from moa_mcp.domain.preset import Preset
from moa_mcp.flows.calls import reads_prefix_again
from moa_mcp.providers.budget import Reservation
from moa_mcp.providers.dialects.anthropic import request_body as anthropic_body
from moa_mcp.providers.dialects.openai import quirks_of
from moa_mcp.providers.dialects.openai import request_body as openai_body
from moa_mcp.providers.prices import Rates
from moa_mcp.providers.request_form import RequestForm
from moa_mcp.providers.settings import describe_form
from tests.faults.fixtures import open_lab, panel
from tests.upstream import Fault, Reply, Request, echo

LONG_QUESTION = "Why is the sky blue? " * 300


def panel_of(*models: str, **given: Any) -> Preset:
    """A panel of these models, of which the first is also the aggregator."""
    return Preset.model_validate(
        {
            "proposers": list(models),
            "aggregator": models[0],
            "straggler_grace_seconds": None,
            "prompt_style": "fenced",
            **given,
        }
    )


def has_mark(request: Request) -> bool:
    return "cache_control" in str(request.body["messages"])


async def marks(preset: Preset, question: str = LONG_QUESTION) -> list[bool]:
    """Which requests of a run mark something, sorted by layer and slot."""
    async with open_lab(preset=preset, dialect="anthropic") as lab:
        run = await lab.ask(question)
    assert len(lab.upstream.requests) == len(run.calls)
    asked = [(request.number, has_mark(request)) for request in lab.upstream.requests]
    return [mark for _, mark in sorted(asked)]


async def test_the_question_is_marked_once_per_model_and_read_by_every_later_call_on_it() -> None:
    self_moa = panel_of("lab/m", "lab/m", "lab/m")

    assert sorted(await marks(self_moa)) == [False, False, True, True]


@pytest.mark.parametrize(
    ("preset", "question"),
    [
        (panel(3), LONG_QUESTION),
        (panel_of("lab/m", "lab/n"), "Why?"),
        (panel_of("lab/m", "lab/n", prompt_style="paper"), LONG_QUESTION),
        (panel_of("lab/m", "lab/n", conclude={"by": "advise"}), LONG_QUESTION),
    ],
    ids=["read once", "too short", "paper", "other messages"],
)
async def test_nothing_is_marked_where_nothing_would_be_read_again(preset: Preset, question: str) -> None:
    assert not any(await marks(preset, question))


@pytest.mark.parametrize(
    ("given", "model", "again"),
    [
        ({"layers": 3}, "lab/p1", True),
        ({"layers": 3}, "lab/chief", False),
        ({"layers": 2}, "lab/p1", False),
        ({"layers": 2, "aggregator": "lab/p1"}, "lab/p1", True),
        ({"layers": 2, "aggregator": "lab/p1", "conclude": {"by": "vote"}}, "lab/p1", False),
        ({"layers": 1}, "lab/chief", False),
    ],
)
def test_the_plan_says_which_models_read_the_beginning_again(given: dict[str, Any], model: str, again: bool) -> None:
    assert reads_prefix_again(panel(**given), model) is again


def marked_call(model: str, text: str = LONG_QUESTION + "drafts") -> ChatCall:
    question = Message("user", text, len(LONG_QUESTION))
    messages = (Message("system", "Be brief."), Message("user", "Before."), question)
    return ChatCall("2.1", "proposer", 2, 1, model, messages, cache_prefix=True)


def test_a_mark_splits_the_last_turn_behind_what_is_shared() -> None:
    (turn,) = anthropic_body(marked_call("anthropic/claude"), "claude")["messages"]
    shared, rest = turn["content"]

    assert shared == {"type": "text", "text": f"Before.\n\n{LONG_QUESTION}", "cache_control": {"type": "ephemeral"}}
    assert rest == {"type": "text", "text": "drafts"}
    (turn,) = anthropic_body(marked_call("anthropic/claude", LONG_QUESTION), "claude")["messages"]
    assert turn["content"] == [shared]  # an empty part would be refused


def test_openrouter_passes_a_mark_on_to_anthropic_and_other_models_need_none() -> None:
    quirks = quirks_of(Endpoint("openrouter", "https://openrouter.ai/api/v1"))
    marked = openai_body(marked_call("openrouter/anthropic/claude"), "anthropic/claude", quirks)["messages"][-1]
    plain = openai_body(marked_call("openrouter/openai/gpt-5.5"), "openai/gpt-5.5", quirks)["messages"][-1]

    assert [part.get("cache_control") for part in marked["content"]] == [{"type": "ephemeral"}, None]
    assert plain == {"role": "user", "content": f"{LONG_QUESTION}drafts"}


def test_what_is_stored_in_a_cache_is_reserved_at_the_price_of_storing() -> None:
    rates = Rates(1e-6, 1e-5, cached_per_token=1e-7, cache_write_per_token=2e-6)
    held = Reservation.for_call(marked_call("lab/m"), rates)

    assert held.cost_usd == pytest.approx(held.input_tokens * 2e-6 + held.output_tokens * 1e-5)


@pytest.mark.parametrize(("dialect", "cache"), [("openai", AutomaticCache()), ("anthropic", MarkedCache())])
async def test_from_the_second_layer_on_most_of_the_input_comes_out_of_the_cache(
    dialect: str, cache: AutomaticCache | MarkedCache
) -> None:
    first, *later = await measure(dialect, cache)

    assert first == 0.0
    assert min(later) >= 0.8


@pytest.mark.parametrize(
    "message",
    [
        "messages.0.content.0.text.cache_control: Extra inputs are not permitted",
        "messages.0.content: Input should be a valid string",
        "'content' must be a string",
        "Invalid type for 'messages[0].content': expected a string, but got an array instead.",
        "Failed to deserialize the JSON body: messages[0]: invalid type: sequence, expected a string at line 1",
        "This model does not support cache_control.",
        "Expected string for message content, got list",
    ],
)
async def test_a_model_that_refuses_the_mark_is_asked_without_it_and_that_is_remembered(message: str) -> None:
    def answer(request: Request) -> Reply | Fault:
        return Fault.status(400, message=message) if has_mark(request) else echo(request)

    async with open_lab(otherwise=answer, preset=panel_of("lab/m", "lab/m"), dialect="anthropic") as lab:
        first, again = await lab.ask(LONG_QUESTION), await lab.ask(f"{LONG_QUESTION}?")
        refused = [request for request in lab.upstream.requests if has_mark(request)]

    assert (first.status, again.status) == ("completed", "completed")
    assert 1 <= len(refused) <= 2  # both calls of the first layer, if they were sent at the same time
    assert any("nothing was marked for the prompt cache: the model refuses it" in note for note in again.notes)


def test_a_call_that_marks_nothing_has_no_note_that_a_model_refuses_the_mark() -> None:
    refused = RequestForm(frozenset({"cache_control"}))

    assert describe_form(marked_call("lab/m"), refused) != {}
    assert describe_form(replace(marked_call("lab/m"), cache_prefix=False), refused) == {}
