"""What a model refuses is left out once, remembered and noted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from moa_mcp.domain.errors import ProviderError, Reason
from moa_mcp.domain.model import Call, ChatCall, Message, Task
from moa_mcp.domain.sampling import FrozenDict, Sampling, setting_of
from moa_mcp.domain.shorten import MIN_DRAFT_CHARS
from moa_mcp.domain.text import fence
from moa_mcp.flows.candidates import label_candidates
from moa_mcp.prompts import judge as judge_prompts
from moa_mcp.providers.base import ignore_text
from moa_mcp.providers.dialects.error_mapping import error_from_body
from moa_mcp.providers.request_form import USUAL
from moa_mcp.providers.wrappers.adapting import MAX_CHANGES, AdaptToModel, ModelForms
from moa_mcp.providers.wrappers.circuit_breaker import CircuitBreaker
from moa_mcp.providers.wrappers.retrying import RetryBudget
from moa_mcp.testing.scripted import ScriptedProvider
from tests.results import as_draft, chats

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
    draft = as_draft(
        await AdaptToModel(provider, ModelForms(), NONCE, RetryBudget(3)).complete(
            make_call(temperature=0.5, effort="high", max_tokens=9), ignore_text
        )
    )

    assert [(call.temperature, call.effort, call.max_tokens) for call in chats(provider.calls)] == [
        (0.5, "high", 9),
        (None, "high", 9),
        (None, None, 9),
    ]
    assert [note.partition(" ")[0] for note in draft.notes] == ["temperature", "effort"]


async def test_it_is_remembered_for_the_model_over_runs_and_for_no_other(make_call: Callable[..., Call]) -> None:
    provider = ScriptedProvider(picky)
    refusals = ModelForms()
    await AdaptToModel(provider, refusals, NONCE, RetryBudget(3)).complete(make_call(temperature=0.5), ignore_text)
    again = as_draft(
        await AdaptToModel(provider, refusals, NONCE, RetryBudget(3)).complete(make_call(temperature=0.5), ignore_text)
    )
    await AdaptToModel(provider, refusals, NONCE, RetryBudget(3)).complete(
        make_call(temperature=0.5, model="lab/lynx"), ignore_text
    )

    assert [call.temperature for call in chats(provider.calls)] == [0.5, None, None, 0.5, None]
    assert again.notes == ("temperature was not sent: the model refuses it",)


@pytest.mark.parametrize("parameter", ["temperature", None])
async def test_what_was_not_sent_cannot_be_left_out(make_call: Callable[..., Call], parameter: str | None) -> None:
    provider = ScriptedProvider(lambda _: ProviderError(Reason.BAD_REQUEST, parameter=parameter))
    with pytest.raises(ProviderError):
        await AdaptToModel(provider, ModelForms(), NONCE, RetryBudget(3)).complete(make_call(), ignore_text)

    assert len(provider.calls) == 1


async def test_drafts_that_do_not_fit_are_shortened_until_nothing_is_left_to_cut_and_nothing_else_is(
    make_call: Callable[..., Call],
) -> None:
    question = "Why? " * 500
    text = f"{question}\n\n{fence('Because. ' * 500, 'draft 1', NONCE)}\n\nNow write."
    provider = ScriptedProvider(lambda _: ProviderError(Reason.TOO_LONG))
    with pytest.raises(ProviderError):
        await AdaptToModel(provider, ModelForms(), NONCE, RetryBudget(3)).complete(
            make_call(messages=(Message("user", text),)), ignore_text
        )
    texts = [call.messages[0].text for call in provider.calls]

    assert 2 < len(texts) <= MAX_CHANGES + 1
    assert sorted(texts, key=len, reverse=True) == texts
    assert all(text.startswith(question) and text.endswith("Now write.") for text in texts)
    assert len(texts[-1]) < len(question) + 2 * MIN_DRAFT_CHARS


async def test_a_shortened_draft_says_so(make_call: Callable[..., Call]) -> None:
    text = fence("Because. " * 500, "draft 1", NONCE)
    provider = ScriptedProvider(
        lambda call: "blue" if len(call.messages[0].text) < 4000 else ProviderError(Reason.TOO_LONG)
    )
    draft = as_draft(
        await AdaptToModel(provider, ModelForms(), NONCE, RetryBudget(3)).complete(
            make_call(messages=(Message("user", text),)), ignore_text
        )
    )

    left_out = len(text) - len(provider.calls[-1].messages[0].text)
    assert draft.notes == (
        f"the drafts it read were shortened to fit its context: {left_out:,} of {len(text):,} characters were left out",
    )


async def test_a_question_that_does_not_fit_is_not_shortened(make_call: Callable[..., Call]) -> None:
    provider = ScriptedProvider(lambda _: ProviderError(Reason.TOO_LONG))
    with pytest.raises(ProviderError):
        await AdaptToModel(provider, ModelForms(), NONCE, RetryBudget(3)).complete(make_call(), ignore_text)

    assert len(provider.calls) == 1


OUT_OF_RANGE = "temperature: range: 0..1"


def warm_up_to_one(call: Call) -> str | ProviderError:
    """Refuses a temperature above 1, as a value."""
    if isinstance(call, ChatCall) and call.temperature is not None and call.temperature > 1:
        return ProviderError(Reason.BAD_REQUEST, OUT_OF_RANGE, parameter="temperature")
    return "blue"


async def test_a_value_out_of_range_is_left_out_of_that_call_and_of_no_later_one(
    make_call: Callable[..., Call],
) -> None:
    provider = ScriptedProvider(warm_up_to_one)
    refusals = ModelForms()
    hot = as_draft(
        await AdaptToModel(provider, refusals, NONCE, RetryBudget(3)).complete(make_call(temperature=1.5), ignore_text)
    )
    mild = as_draft(
        await AdaptToModel(provider, refusals, NONCE, RetryBudget(3)).complete(make_call(temperature=0.2), ignore_text)
    )

    assert [call.temperature for call in chats(provider.calls)] == [1.5, None, 0.2]
    assert (hot.notes, mild.notes) == (("temperature was not sent: the model refuses 1.5",), ())


async def test_a_setting_is_learnt_but_not_left_out_where_only_a_planned_call_could_make_room(
    make_call: Callable[..., Call],
) -> None:
    provider = ScriptedProvider(picky)
    refusals = ModelForms()
    call = make_call(temperature=0.5)
    with pytest.raises(ProviderError):
        await AdaptToModel(provider, refusals, NONCE, RetryBudget(0, 0)).complete(call, ignore_text)
    await AdaptToModel(provider, refusals, NONCE, RetryBudget(0, 0)).complete(call, ignore_text)

    assert [call.temperature for call in chats(provider.calls)] == [0.5, None]


async def test_a_value_that_is_refused_even_when_left_out_fails_the_call(make_call: Callable[..., Call]) -> None:
    provider = ScriptedProvider(lambda _: ProviderError(Reason.BAD_REQUEST, OUT_OF_RANGE, parameter="temperature"))
    with pytest.raises(ProviderError):
        await AdaptToModel(provider, ModelForms(), NONCE, RetryBudget(3)).complete(
            make_call(temperature=1.5), ignore_text
        )

    assert len(provider.calls) == 2


async def shortened(call: Call) -> str:
    """What is left of a call's only message after it did not fit."""
    provider = ScriptedProvider(lambda _: ProviderError(Reason.TOO_LONG))
    with pytest.raises(ProviderError):
        await AdaptToModel(provider, ModelForms(), NONCE, RetryBudget(3)).complete(call, ignore_text)
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
    "setting", [{"top_p": 0.9}, {"top_k": 20}, {"seed": 7}, {"stop": ("END",)}, {"thinking": True}]
)
async def test_a_refused_sampling_setting_is_left_out_and_the_others_are_kept(
    make_call: Callable[..., Call], setting: dict[str, Any]
) -> None:
    (name,) = setting
    kept = Sampling(response_format=FrozenDict({"type": "json_object"}))

    def refuse(call: Call) -> str | ProviderError:
        if not isinstance(call, ChatCall) or setting_of(call, name) is None:
            return "blue"
        error = {"param": name, "message": f"Unsupported parameter: '{name}'.", "type": "invalid_request_error"}
        return error_from_body({"error": error}, 400)

    provider = ScriptedProvider(refuse)
    forms = ModelForms()
    for _ in range(2):
        call = make_call(sampling=replace(kept, **setting))
        draft = as_draft(await AdaptToModel(provider, forms, NONCE, RetryBudget(3)).complete(call, ignore_text))
        assert draft.notes == (f"{name} was not sent: the model refuses it",)

    assert [call.sampling == kept for call in chats(provider.calls)] == [False, True, True]


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
    json_mode = Sampling(response_format=FrozenDict({"type": "json_object"}))

    def without_json_mode(call: Call) -> str | ProviderError:
        asked = isinstance(call, ChatCall) and setting_of(call, "response_format")
        return error_from_body({"error": {"message": message}}, 400) if asked else "{}"

    provider, forms = ScriptedProvider(without_json_mode), ModelForms()
    for _ in range(2):
        asking = AdaptToModel(provider, forms, NONCE, RetryBudget(3))
        assert as_draft(await asking.complete(make_call(sampling=json_mode), ignore_text)).text == "{}"

    assert [call.sampling == json_mode for call in chats(provider.calls)] == [True, False, False]


AFFORD = (
    "This request requires more credits, or fewer max_tokens. You requested up to 32000 tokens, but can only afford "
    "2,054. To increase, visit https://openrouter.ai/settings/credits and upgrade to a paid account"
)


@pytest.mark.parametrize("max_tokens", [None, 32_000])
async def test_max_tokens_is_lowered_once_to_what_the_credit_pays_for_and_the_model_is_not_paused(
    make_call: Callable[..., Call], max_tokens: int | None
) -> None:
    def answer(call: Call) -> str | ProviderError:
        asked = chats([call])[0].max_tokens
        return "blue" if asked == 2054 else error_from_body({"error": {"message": AFFORD, "code": 402}}, 402)

    provider, forms = ScriptedProvider(answer), ModelForms()
    adapting = AdaptToModel(CircuitBreaker(provider), forms, NONCE, RetryBudget(3))
    draft = as_draft(await adapting.complete(make_call(max_tokens=max_tokens), ignore_text))

    assert [call.max_tokens for call in chats(provider.calls)] == [max_tokens, 2054]
    assert draft.notes == ("max_tokens was lowered to 2,054: the credit of the account pays for no more",)
    assert forms.of("lab/owl") == USUAL


@pytest.mark.parametrize(("afford", "tries"), [("1,000", 2), ("12", 1)])
async def test_too_little_credit_is_a_matter_of_billing(
    make_call: Callable[..., Call], afford: str, tries: int
) -> None:
    body = {"error": {"message": AFFORD.replace("2,054", afford), "code": 402}}
    provider = ScriptedProvider(lambda _: error_from_body(body, 402))
    with pytest.raises(ProviderError) as caught:
        await AdaptToModel(provider, ModelForms(), NONCE, RetryBudget(3)).complete(make_call(), ignore_text)

    assert (caught.value.reason, len(provider.calls)) == (Reason.BILLING, tries)
