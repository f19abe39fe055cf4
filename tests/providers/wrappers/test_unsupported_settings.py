"""What a model refuses is left out once, remembered and noted."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from moa_mcp.domain.errors import ProviderError, Reason
from moa_mcp.domain.model import Call, Message, Task
from moa_mcp.domain.text import fence
from moa_mcp.flows.candidates import label_candidates
from moa_mcp.prompts import judge as judge_prompts
from moa_mcp.providers.base import ignore_text
from moa_mcp.providers.dialects.error_mapping import error_from_body
from moa_mcp.providers.wrappers.retrying import RetryBudget
from moa_mcp.providers.wrappers.unsupported_settings import SHORTENED_NOTE, DropUnsupportedSettings, UnsupportedSettings
from moa_mcp.testing.scripted import ScriptedProvider

NONCE = f"{7:016x}"

REFUSED = ("temperature", "effort")


def picky(call: Call) -> str | ProviderError:
    """Refuses temperature and effort, one at a time."""
    keys = {"temperature": "temperature", "effort": "reasoning_effort"}
    for field in REFUSED:
        if getattr(call, field) is not None:
            message = f"Unsupported parameter: {keys[field]} is not supported with this model."
            return ProviderError(Reason.BAD_REQUEST, message, parameter=keys[field])
    return "blue"


async def test_each_refused_setting_is_left_out_and_said(make_call: Callable[..., Call]) -> None:
    provider = ScriptedProvider(picky)
    draft = await DropUnsupportedSettings(provider, UnsupportedSettings(), NONCE, RetryBudget(3)).complete(
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
    refusals = UnsupportedSettings()
    await DropUnsupportedSettings(provider, refusals, NONCE, RetryBudget(3)).complete(
        make_call(temperature=0.5), ignore_text
    )
    again = await DropUnsupportedSettings(provider, refusals, NONCE, RetryBudget(3)).complete(
        make_call(temperature=0.5), ignore_text
    )
    await DropUnsupportedSettings(provider, refusals, NONCE, RetryBudget(3)).complete(
        make_call(temperature=0.5, model="lab/lynx"), ignore_text
    )

    assert [call.temperature for call in provider.calls] == [0.5, None, None, 0.5, None]
    assert again.notes == ("temperature was not sent: the model refuses it",)


@pytest.mark.parametrize("parameter", ["stream_options", "temperature", None])
async def test_what_was_not_sent_cannot_be_left_out(make_call: Callable[..., Call], parameter: str | None) -> None:
    provider = ScriptedProvider(lambda _: ProviderError(Reason.BAD_REQUEST, parameter=parameter))
    with pytest.raises(ProviderError):
        await DropUnsupportedSettings(provider, UnsupportedSettings(), NONCE, RetryBudget(3)).complete(
            make_call(), ignore_text
        )

    assert len(provider.calls) == 1


async def test_drafts_that_do_not_fit_are_shortened_once_and_nothing_else_is(make_call: Callable[..., Call]) -> None:
    question = "Why? " * 500
    text = f"{question}\n\n{fence('Because. ' * 500, 'draft 1', NONCE)}\n\nNow write."
    provider = ScriptedProvider(lambda _: ProviderError(Reason.TOO_LONG))
    with pytest.raises(ProviderError):
        await DropUnsupportedSettings(provider, UnsupportedSettings(), NONCE, RetryBudget(3)).complete(
            make_call(messages=(Message("user", text),)), ignore_text
        )
    _, second = provider.calls

    assert second.messages[0].text.startswith(question)
    assert second.messages[0].text.endswith("Now write.")
    assert len(second.messages[0].text) < len(text) - 2000


async def test_a_shortened_draft_says_so(make_call: Callable[..., Call]) -> None:
    text = fence("Because. " * 500, "draft 1", NONCE)
    provider = ScriptedProvider(
        lambda call: "blue" if len(call.messages[0].text) < 4000 else ProviderError(Reason.TOO_LONG)
    )
    draft = await DropUnsupportedSettings(provider, UnsupportedSettings(), NONCE, RetryBudget(3)).complete(
        make_call(messages=(Message("user", text),)), ignore_text
    )

    assert draft.notes == (SHORTENED_NOTE,)


async def test_a_question_that_does_not_fit_is_not_shortened(make_call: Callable[..., Call]) -> None:
    provider = ScriptedProvider(lambda _: ProviderError(Reason.TOO_LONG))
    with pytest.raises(ProviderError):
        await DropUnsupportedSettings(provider, UnsupportedSettings(), NONCE, RetryBudget(3)).complete(
            make_call(), ignore_text
        )

    assert len(provider.calls) == 1


OUT_OF_RANGE = "temperature: range: 0..1"


def warm_up_to_one(call: Call) -> str | ProviderError:
    """Refuses a temperature above 1, as a value."""
    if call.temperature is not None and call.temperature > 1:
        return ProviderError(Reason.BAD_REQUEST, OUT_OF_RANGE, parameter="temperature")
    return "blue"


async def test_a_value_out_of_range_is_left_out_of_that_call_and_of_no_later_one(
    make_call: Callable[..., Call],
) -> None:
    provider = ScriptedProvider(warm_up_to_one)
    refusals = UnsupportedSettings()
    hot = await DropUnsupportedSettings(provider, refusals, NONCE, RetryBudget(3)).complete(
        make_call(temperature=1.5), ignore_text
    )
    mild = await DropUnsupportedSettings(provider, refusals, NONCE, RetryBudget(3)).complete(
        make_call(temperature=0.2), ignore_text
    )

    assert [call.temperature for call in provider.calls] == [1.5, None, 0.2]
    assert (hot.notes, mild.notes) == (("temperature was not sent: the model refuses 1.5",), ())


async def test_a_setting_is_learnt_but_not_left_out_where_only_a_planned_call_could_make_room(
    make_call: Callable[..., Call],
) -> None:
    provider = ScriptedProvider(picky)
    refusals = UnsupportedSettings()
    call = make_call(temperature=0.5)
    with pytest.raises(ProviderError):
        await DropUnsupportedSettings(provider, refusals, NONCE, RetryBudget(0, 0)).complete(call, ignore_text)
    await DropUnsupportedSettings(provider, refusals, NONCE, RetryBudget(0, 0)).complete(call, ignore_text)

    assert [call.temperature for call in provider.calls] == [0.5, None]


async def test_a_value_that_is_refused_even_when_left_out_fails_the_call(make_call: Callable[..., Call]) -> None:
    provider = ScriptedProvider(lambda _: ProviderError(Reason.BAD_REQUEST, OUT_OF_RANGE, parameter="temperature"))
    with pytest.raises(ProviderError):
        await DropUnsupportedSettings(provider, UnsupportedSettings(), NONCE, RetryBudget(3)).complete(
            make_call(temperature=1.5), ignore_text
        )

    assert len(provider.calls) == 2


async def shortened(call: Call) -> str:
    """What is left of a call's only message after it did not fit."""
    provider = ScriptedProvider(lambda _: ProviderError(Reason.TOO_LONG))
    with pytest.raises(ProviderError):
        await DropUnsupportedSettings(provider, UnsupportedSettings(), NONCE, RetryBudget(3)).complete(
            call, ignore_text
        )
    return provider.calls[-1].messages[0].text


@pytest.mark.parametrize("label", ["draft 1", "candidate B", "advice 2", "reply", "later reply of Model 3"])
async def test_what_a_model_wrote_is_shortened_whatever_it_is_called(
    make_call: Callable[..., Call], label: str
) -> None:
    text = fence("Because. " * 500, label, NONCE)

    assert len(await shortened(make_call(messages=(Message("user", text),)))) < len(text) - 2000


async def test_the_question_that_a_judge_is_shown_stays_whole(make_call: Callable[..., Call]) -> None:
    question = "".join(f"fact {number}. " for number in range(400))
    task = Task(question, seed=7, system="Standing: " + "rule. " * 300)
    messages = judge_prompts.pick_best(
        task, label_candidates(task, "select", ["Because. " * 500, "So. " * 800]).render()
    )
    left = await shortened(make_call(messages=messages))

    assert question in left
    assert "rule. " * 300 in left
    assert len(left) < len(messages[0].text) - 2000


async def test_what_a_user_pasted_in_the_form_of_our_fences_stays_whole(make_call: Callable[..., Call]) -> None:
    pasted = fence("line\n" * 2000, "draft 1", "0123456789abcdef")
    text = f"{pasted}\n\n{fence('Because. ' * 500, 'draft 1', NONCE)}"

    assert pasted in await shortened(make_call(messages=(Message("user", text),)))


@pytest.mark.parametrize(
    "message",
    [
        "Unsupported parameter: 'response_format' is not supported with this model.",
        "This model does not support JSON mode.",
        "json_object is not supported by this endpoint",
    ],
)
async def test_a_model_without_json_mode_is_asked_without_it_from_then_on(
    make_call: Callable[..., Call], message: str
) -> None:
    def without_json_mode(call: Call) -> str | ProviderError:
        return error_from_body({"error": {"message": message}}, 400) if call.json_reply else "{}"

    provider, refusals = ScriptedProvider(without_json_mode), UnsupportedSettings()
    for _ in range(2):
        asking = DropUnsupportedSettings(provider, refusals, NONCE, RetryBudget(3))
        assert (await asking.complete(make_call(json_reply=True), ignore_text)).text == "{}"

    assert [call.json_reply for call in provider.calls] == [True, None, None]
