"""What a model refuses is left out once, remembered and noted."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from moa_mcp.errors import ProviderError, Reason
from moa_mcp.model import Call, Message
from moa_mcp.providers.adapting import SHORTENED, Adapting, Refusals
from moa_mcp.providers.base import ignore_text
from moa_mcp.testing.scripted import ScriptedProvider
from moa_mcp.text import fence

REFUSED = ("temperature", "effort")


def picky(call: Call) -> str | ProviderError:
    """Refuses temperature and effort, one at a time."""
    keys = {"temperature": "temperature", "effort": "reasoning_effort"}
    for field in REFUSED:
        if getattr(call, field) is not None:
            return ProviderError(Reason.BAD_REQUEST, parameter=keys[field])
    return "blue"


async def test_each_refused_setting_is_left_out_and_said(make_call: Callable[..., Call]) -> None:
    provider = ScriptedProvider(picky)
    draft = await Adapting(provider, Refusals()).complete(
        make_call(temperature=0.5, effort="high", max_tokens=9), ignore_text
    )

    assert [(call.temperature, call.effort, call.max_tokens) for call in provider.calls] == [
        (0.5, "high", 9),
        (None, "high", 9),
        (None, None, 9),
    ]
    assert [note.partition(" ")[0] for note in draft.notes] == ["temperature", "effort"]


async def test_it_is_remembered_for_the_model_over_runs_and_for_no_other(make_call: Callable[..., Call]) -> None:
    provider = ScriptedProvider(picky)
    refusals = Refusals()
    await Adapting(provider, refusals).complete(make_call(temperature=0.5), ignore_text)
    again = await Adapting(provider, refusals).complete(make_call(temperature=0.5), ignore_text)
    await Adapting(provider, refusals).complete(make_call(temperature=0.5, model="lab/lynx"), ignore_text)

    assert [call.temperature for call in provider.calls] == [0.5, None, None, 0.5, None]
    assert again.notes == ("temperature was not sent: the model refuses it",)


@pytest.mark.parametrize("parameter", ["stream_options", "temperature", None])
async def test_what_was_not_sent_cannot_be_left_out(make_call: Callable[..., Call], parameter: str | None) -> None:
    provider = ScriptedProvider(lambda _: ProviderError(Reason.BAD_REQUEST, parameter=parameter))
    with pytest.raises(ProviderError):
        await Adapting(provider, Refusals()).complete(make_call(), ignore_text)

    assert len(provider.calls) == 1


async def test_drafts_that_do_not_fit_are_shortened_once_and_nothing_else_is(make_call: Callable[..., Call]) -> None:
    nonce = f"{7:016x}"
    question = "Why? " * 500
    text = f"{question}\n\n{fence('Because. ' * 500, 'draft 1', nonce)}\n\nNow write."
    provider = ScriptedProvider(lambda _: ProviderError(Reason.TOO_LONG))
    with pytest.raises(ProviderError):
        await Adapting(provider, Refusals()).complete(make_call(messages=(Message("user", text),)), ignore_text)
    _, second = provider.calls

    assert second.messages[0].text.startswith(question)
    assert second.messages[0].text.endswith("Now write.")
    assert len(second.messages[0].text) < len(text) - 2000


async def test_a_shortened_draft_says_so(make_call: Callable[..., Call]) -> None:
    text = fence("Because. " * 500, "draft 1", f"{7:016x}")
    provider = ScriptedProvider(
        lambda call: "blue" if len(call.messages[0].text) < 4000 else ProviderError(Reason.TOO_LONG)
    )
    draft = await Adapting(provider, Refusals()).complete(make_call(messages=(Message("user", text),)), ignore_text)

    assert draft.notes == (SHORTENED,)


async def test_a_question_that_does_not_fit_is_not_shortened(make_call: Callable[..., Call]) -> None:
    provider = ScriptedProvider(lambda _: ProviderError(Reason.TOO_LONG))
    with pytest.raises(ProviderError):
        await Adapting(provider, Refusals()).complete(make_call(), ignore_text)

    assert len(provider.calls) == 1
