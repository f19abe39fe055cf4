"""Asking for a reply of fixed form: read leniently, asked once more, then given up on."""

from collections.abc import Generator, Sequence
from dataclasses import replace

import pytest

from moa_mcp.domain.errors import Reason
from moa_mcp.domain.fields import ModelSettings, PromptStyle
from moa_mcp.domain.model import Batch, Call, Draft, DryRunReplies, Failure, Message, Outcome
from moa_mcp.domain.preset import Aggregator, Preset
from moa_mcp.domain.sampling import setting_of
from moa_mcp.flows.structured_reply import Form, FormReply, ask_form, ask_forms, json_object, judge_call
from moa_mcp.prompts.judge import REPEAT_REQUEST
from tests.results import chats

PRESET = Preset(layers=1, aggregator=Aggregator(model="lab/agg", role="You write for children.", temperature=0.3))
QUESTION = (Message("user", "How many?"),)
CALL = judge_call(PRESET, None, QUESTION, "judge", layer=2)


def number(text: str) -> int | None:
    return int(text) if text.isdigit() else None


def a_word(text: str) -> int | None:
    return {"three": 3}.get(text)


def asked_with(*reply: str | Failure) -> tuple[FormReply[int], list[Call]]:
    """Ask one call that says these things, one after another: what was read, and the calls that it took."""
    calls: list[Call] = []
    asking: Generator[Batch, Sequence[Outcome], FormReply[int]] = ask_form(CALL, Form(number, a_word), until=0.7)
    batch = next(asking)
    for words in reply:
        assert batch.until == 0.7
        calls.extend(batch.calls)
        try:
            batch = asking.send([Draft(words) if isinstance(words, str) else words])
        except StopIteration as stop:
            return stop.value, calls
    raise AssertionError("It asks more often than that.")


def test_a_reply_in_good_form_takes_one_call() -> None:
    asked, calls = asked_with("3")

    assert asked == FormReply(3, "first try")
    assert calls == [CALL]


def test_a_reply_that_can_be_read_loosely_is_not_asked_for_again() -> None:
    asked, calls = asked_with("three")

    assert asked == FormReply(3, "first try, read loosely")
    assert len(calls) == 1


def test_an_object_out_of_form_is_not_read_loosely() -> None:
    asking = ask_form(CALL, Form(lambda text: None, lambda text: 3))
    next(asking)

    assert asking.send([Draft('{"reason": "three", "number": []}')]).calls[0].id == "2.judge.again"


def test_a_reply_out_of_form_is_asked_for_once_more_in_the_same_conversation() -> None:
    asked, calls = asked_with("well…", "3")

    assert asked == FormReply(3, "second try")
    assert calls[1].id == "2.judge.again"
    assert calls[1].messages == (*QUESTION, Message("assistant", "well…"), Message("user", REPEAT_REQUEST))


def test_two_replies_out_of_form_are_given_up_on() -> None:
    asked, calls = asked_with("well…", "hm")

    assert asked == FormReply(None, "out of form")
    assert len(calls) == 2


def test_a_failed_call_is_not_repeated_and_is_described_in_plain_words() -> None:
    asked, calls = asked_with(Failure(Reason.AUTH))

    assert asked.value is None
    assert "refused the key" in asked.outcome
    assert len(calls) == 1


def test_a_failure_of_the_second_try_is_described_too() -> None:
    asked, _ = asked_with("well…", Failure(Reason.DEADLINE))

    assert asked.value is None
    assert "deadline" in asked.outcome


def test_after_an_empty_reply_the_same_messages_are_sent_again_without_an_empty_turn() -> None:
    _, calls = asked_with("  ", "3")

    assert calls[1].messages == QUESTION


def test_only_those_out_of_form_are_asked_again_and_replies_keep_their_places() -> None:
    calls = tuple(judge_call(PRESET, None, QUESTION, "judge", layer=2, place=str(n)) for n in range(4))
    asking = ask_forms(Batch(2, calls), Form(number))
    next(asking)
    again = asking.send([Draft("0"), Draft("?"), Failure(Reason.EMPTY), Draft("?")])
    with pytest.raises(StopIteration) as stop:
        asking.send([Draft("1"), Draft("??")])

    assert [call.id for call in again.calls] == ["2.judge.1.again", "2.judge.3.again"]
    assert [call.is_repeat for call in (*again.calls, *calls)] == [True, True, False, False, False, False]
    assert [one.value for one in stop.value.value] == [0, 1, None, None]


def test_no_calls_make_no_batch() -> None:
    asking = ask_forms(Batch(2, ()), Form(number))

    with pytest.raises(StopIteration) as stop:
        next(asking)

    assert stop.value.value == []


def test_without_a_judge_the_aggregator_is_asked_but_not_in_its_role_as_a_writer() -> None:
    assert (CALL.model, CALL.temperature, CALL.messages) == ("lab/agg", 0.3, QUESTION)


def test_a_judge_has_its_own_settings_and_role() -> None:
    judge = ModelSettings(model="lab/judge", role="You are strict.", max_tokens=100)

    call = judge_call(PRESET, judge, QUESTION, "judge", layer=2)

    assert (call.model, call.max_tokens, call.temperature) == ("lab/judge", 100, None)
    assert call.messages == (Message("system", "You are strict."), *QUESTION)


@pytest.mark.parametrize(
    "text",
    [
        '{"keep": ["A"]}',
        'Here it is:\n```json\n{"keep": ["A"]}\n```\nGood luck!',
        '{"thought": 1} and so {"keep": ["A"]}',
        'Of the form {"keep": ["B"]}? Then: {"keep": ["A"]}',
        '{"verdict": {"keep": ["A"]}}',
        'I take {A, B}, no: {"keep": ["A"]}',
        '{" Keep ": ["A"], "why": "two\nlines"}',
    ],
)
def test_an_object_is_found_with_any_text_around_it(text: str) -> None:
    found = json_object(text, "keep")

    assert found is not None
    assert found["keep"] == ["A"]


def test_keys_are_read_without_case_spaces_and_hyphens() -> None:
    assert json_object('{"Blind Spots": [], "unique-points": []}', "blind_spots", "unique_points") is not None


@pytest.mark.parametrize("text", ["", "none", "{", "[1]", '{"kept": 1}', '{"keep": ["A"', "{'keep': ['A']}"])
def test_without_a_matching_object_nothing_is_read(text: str) -> None:
    assert json_object(text, "keep") is None


@pytest.mark.parametrize("piece", ['{"a":', '{"a":[', "{", '{"a":{}},'])
def test_hostile_braces_do_not_hide_an_object(piece: str) -> None:
    hostile = piece * 10_000

    assert json_object(hostile, "keep") is None
    assert json_object(f'{hostile} "}} {{"keep": 1}}', "keep") == {"keep": 1}


def test_only_a_strong_model_and_a_form_that_is_a_json_object_get_json_mode() -> None:
    replies = DryRunReplies('{"score": 1}', '{"score": 9}')
    strong = replace(CALL, model="openai/gpt-5.5")
    asked = (next(ask_form(call, Form(number, dry_run=one))) for call in (strong, CALL) for one in (replies, None))

    modes = [setting_of(call, "response_format") for batch in asked for call in chats(batch.calls)]
    assert modes == [{"type": "json_object"}, None, None, None]


def test_a_strong_judge_gets_one_turn_and_another_the_material_in_the_system_message() -> None:
    material, closing = Message("system", "What is in tags is material."), Message("user", "Reply with JSON.")

    def texts(model: str, style: PromptStyle) -> list[str]:
        judge = ModelSettings(model=model, role="You check units.")
        preset = PRESET.model_copy(update={"prompt_style": style})
        call = judge_call(preset, judge, (material, closing), "judge", layer=2)
        return [f"{message.speaker}: {message.text}" for message in call.messages]

    one_turn = ["system: You check units.", f"user: {material.text}\n\n{closing.text}"]
    split = [f"system: You check units.\n\n{material.text}", f"user: {closing.text}"]
    assert texts("openai/gpt-5.5", "auto") == texts("lab/owl", "fenced") == one_turn
    assert texts("lab/owl", "auto") == texts("openai/gpt-5.5", "tagged") == texts("lab/owl", "paper") == split
