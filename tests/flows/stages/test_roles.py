"""Roles: one persona per slot, written once for a kind of question."""

from dataclasses import replace

import pytest

from moa_mcp.domain.errors import Reason
from moa_mcp.domain.model import Call, Failure, Message
from moa_mcp.domain.preset import Aggregator, Preset
from moa_mcp.flows.panel import ask_panel
from moa_mcp.flows.stages.roles import Roles, roles_key
from moa_mcp.testing.playing import Played, drive
from tests.flows.judge import FakeReply, as_json, judged, with_judge
from tests.flows.panel import MERGED, TASK, a_panel, is_plain, with_role

SPEC = Roles(task="School mathematics")
PANEL = a_panel(slots=3, layers=3, roles={"task": "School mathematics"})
ROLES = ("You are a teacher.", "You are a sceptic.", "You are a pupil.")


def cast(reply: FakeReply, preset: Preset = PANEL) -> Played:
    return judged(lambda _: reply, preset)


def in_good_form(_: Call | None = None) -> str:
    return as_json(roles=ROLES)


def system_texts(played: Played, layer: int) -> list[str]:
    calls = [call for call in with_role(played.calls, "proposer") if call.layer == layer]
    texts = [message.text for call in calls for message in call.messages if message.speaker == "system"]
    return [text.partition("\n\nYou have been provided")[0] for text in texts]


def test_each_proposer_has_a_role_of_its_own_in_every_layer() -> None:
    played = cast(in_good_form())

    assert system_texts(played, 1) == system_texts(played, 2) == list(ROLES)


def test_the_roles_are_written_in_one_call_that_sees_the_task_and_not_the_question() -> None:
    (call,) = with_role(cast(in_good_form()).calls, "roles")

    (message,) = call.messages
    assert (call.id, call.model) == ("1.roles", "lab/agg")
    assert "School mathematics" in message.text
    assert "exactly 3 roles" in message.text
    assert TASK.question not in message.text


def test_a_role_stands_behind_what_the_preset_tells_the_proposer() -> None:
    proposers = [{"model": "lab/p1", "role": "You check units."}, "lab/p2", "lab/p3"]
    preset = a_panel(proposers=proposers, roles={"task": "School mathematics"})

    assert system_texts(cast(in_good_form(), preset), 1)[0] == "You check units.\n\nYou are a teacher."


def test_roles_of_one_task_are_written_once_over_two_questions() -> None:
    first = cast(in_good_form())
    later = replace(TASK, question="And at dusk?", known=first.answer.learned)

    second = drive(ask_panel(later, PANEL), with_judge(lambda _: Failure(Reason.INTERNAL)))

    assert with_role(second.calls, "roles") == []
    assert system_texts(second, 1) == list(ROLES)
    assert second.answer.method["roles"]["how"] == "known from an earlier run"


def test_roles_of_another_task_or_number_of_slots_are_others() -> None:
    keys = {roles_key(SPEC, 3), roles_key(SPEC, 4), roles_key(Roles(task="Law"), 3)}

    assert len(keys) == 3
    assert list(cast(in_good_form()).answer.learned) == [roles_key(SPEC, 3)]


def test_what_is_remembered_wrongly_is_written_anew() -> None:
    task = replace(TASK, known={roles_key(SPEC, 3): "no roles at all"})

    played = drive(ask_panel(task, PANEL), with_judge(in_good_form))

    assert system_texts(played, 1) == list(ROLES)


def test_the_facts_tell_the_roles_by_slot() -> None:
    facts = cast(in_good_form()).answer.method["roles"]

    assert is_plain(facts)
    assert facts == {"how": "first try", "by_slot": dict(zip("123", ROLES, strict=True))}


@pytest.mark.parametrize(
    ("reply", "how"),
    [
        (f"Here you are: {as_json(roles=ROLES)}", "first try"),
        (as_json(roles=[*ROLES, "You are one too many."]), "first try"),
        ("1. You are a teacher.\n2. You are a sceptic.\n3. You are a pupil.", "first try, read loosely"),
        (
            "Role 1: You are a teacher.\nRole 2: You are a sceptic.\nRole 3: You are a pupil.",
            "first try, read loosely",
        ),
    ],
)
def test_roles_are_read_leniently(reply: str, how: str) -> None:
    played = cast(reply)

    assert system_texts(played, 1) == list(ROLES)
    assert played.answer.method["roles"]["how"] == how


def test_a_role_that_comes_in_parts_is_put_together() -> None:
    reply = as_json(roles=[{"occupation": f"job {number}", "temper": "calm"} for number in range(3)])

    assert system_texts(cast(reply), 1) == ["job 0; calm", "job 1; calm", "job 2; calm"]


@pytest.mark.parametrize(
    "reply", ["", "no", as_json(roles=ROLES[:2]), as_json(roles=["You are alike."] * 3), as_json(roles="a teacher")]
)
def test_too_few_or_like_roles_are_asked_for_again_and_then_done_without(reply: str) -> None:
    played = cast(reply)

    assert system_texts(played, 1) == []
    assert len(with_role(played.calls, "roles")) == 2
    assert played.answer.method["roles"] == {"how": "out of form"}
    assert "the panel works without roles: out of form" in played.answer.notes
    assert (played.answer.text, played.answer.learned) == (MERGED, {})


def test_without_its_writer_the_panel_works_without_roles() -> None:
    played = cast(Failure(Reason.BILLING))

    assert "no credit" in played.answer.method["roles"]["how"]
    assert played.answer.text == MERGED


def test_one_plain_call_needs_no_roles() -> None:
    preset = Preset(layers=1, aggregator=Aggregator(model="lab/agg"), roles=SPEC)

    assert [call.messages for call in cast("", preset).calls] == [(Message("user", TASK.question),)]
