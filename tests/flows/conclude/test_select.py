"""Select: a judge names a draft, and that is the answer word for word."""

import pytest

from moa_mcp.domain.errors import Reason
from moa_mcp.domain.model import Call, Draft, Failure, Message, Task
from moa_mcp.domain.preset import Preset
from moa_mcp.flows.panel import ask_panel
from moa_mcp.flows.planning.dry_run import dry_run
from moa_mcp.testing.playing import Played, drive
from tests.flows.judge import FakeReply, Judge, as_json, candidates, judged, letter_of
from tests.flows.panel import TASK, a_panel, draft_of, is_plain, packaged, prompt_of, with_role
from tests.results import chats

PANEL = a_panel(conclude={"by": "select", "orders": 2})


def selected(judge: Judge, preset: Preset = PANEL, task: Task = TASK) -> Played:
    return judged(judge, preset, task)


def naming(slot: int) -> Judge:
    return lambda call: as_json(reason="It is right.", choice=letter_of(call, slot))


@pytest.mark.parametrize("slot", [1, 2, 3, 4])
def test_the_answer_is_the_named_draft_to_the_letter(slot: int) -> None:
    answer = selected(naming(slot)).answer

    assert answer.text == draft_of(slot)
    assert not answer.degraded


def test_it_costs_a_call_for_each_order_at_the_same_time_and_no_aggregator_writes() -> None:
    played = selected(naming(1))

    assert [call.role for call in played.calls] == ["proposer"] * 4 + ["judge"] * 2
    assert [call.id for call in played.batches[-1].calls] == ["2.judge", "2.judge.turned"]
    assert list(candidates(played.calls[-1]).values()) == list(candidates(played.calls[-2]).values())[::-1]


def test_one_order_is_one_call() -> None:
    played = selected(naming(2), a_panel(conclude={"by": "select"}))

    assert [call.id for call in with_role(played.calls, "judge")] == ["2.judge"]
    assert played.answer.text == draft_of(2)


def test_a_judge_that_loves_a_place_decides_nothing() -> None:
    played = [selected(lambda _: as_json(choice="A"), task=Task("Q?", seed=seed)) for seed in range(20)]

    for run in played:
        named = run.answer.method["select"]["named"]
        assert len(set(named)) == 2
        assert run.answer.text in {draft_of(slot) for slot in named}
        assert run.answer.degraded
        assert any("the answer was drawn of the two" in note for note in run.answer.notes)
    assert {run.answer.method["select"]["named"].index(run.answer.method["select"]["chosen"]) for run in played} == {
        0,
        1,
    }


def test_where_one_order_cannot_be_read_the_other_decides_and_a_note_says_so() -> None:
    answer = selected(lambda call: naming(3)(call) if "turned" in call.id else "hm").answer

    assert (answer.text, answer.degraded) == (draft_of(3), False)
    assert any("read in one of two orders alone: out of form" in note for note in answer.notes)


def test_the_facts_have_the_choice_and_the_letters_of_the_drafts() -> None:
    played = selected(naming(3))

    facts = played.answer.method["select"]
    assert is_plain(facts)
    assert (facts["for"], facts["chosen"], facts["why"], facts["how"]) == (
        "best",
        3,
        "It is right.",
        "first try",
    )
    assert {letter: draft_of(slot) for letter, slot in facts["letters"].items()} == candidates(played.calls[-2])
    assert facts["named"] == [3, 3]


def test_consistent_asks_for_agreement_and_best_for_quality() -> None:
    preset = a_panel(conclude={"by": "select", "for": "consistent"})

    best, consistent = selected(naming(1)).calls[-1], selected(naming(1), preset).calls[-1]

    assert "consistent with the others" in prompt_of(consistent)
    assert "consistent with the others" not in prompt_of(best)


def test_a_judge_of_its_own_is_asked_instead_of_the_aggregator() -> None:
    preset = a_panel(conclude={"by": "select", "model": {"model": "lab/judge", "temperature": 0}})

    call = chats(selected(naming(1), preset).calls)[-1]

    assert (call.model, call.temperature) == ("lab/judge", 0)


@pytest.mark.parametrize(
    "form",
    [
        "{}",
        "Candidate {}",
        "**{}**",
        "The best of them is {}.",
        '```json\n{{"choice": "Candidate {}"}}\n```',
        "{{'choice': '{}'}}",
        '{{"choice": "{}, because the others are wrong"}}',
    ],
)
def test_the_name_is_read_in_many_forms(form: str) -> None:
    assert selected(lambda call: form.format(letter_of(call, 2))).answer.text == draft_of(2)


def test_a_number_is_the_place_from_1() -> None:
    def judge(call: Call) -> str:
        return as_json(choice=1 + list(candidates(call).values()).index(draft_of(2)))

    assert selected(judge).answer.text == draft_of(2)


@pytest.mark.parametrize(
    "reply", ["", "none", '{"choice": "Z"}', '{"choice": 0}', '{"choice": "A, B"}', '{"choice": null}', "B or C"]
)
def test_an_invalid_name_is_asked_for_again_and_then_the_first_draft_is_the_answer(reply: str) -> None:
    played = selected(lambda _: reply)

    assert played.answer.text == draft_of(1)
    assert played.answer.degraded
    assert played.answer.method["select"]["how"] == "out of form"
    assert any("the judge named no draft" in note for note in played.answer.notes)
    assert [call.id for call in played.batches[-1].calls] == ["2.judge.again", "2.judge.turned.again"]


def test_without_a_judge_the_first_draft_is_the_answer_and_says_why() -> None:
    answer = selected(lambda _: Failure(Reason.RATE_LIMITED)).answer

    assert answer.text == draft_of(1)
    assert any("rate limited" in note for note in answer.notes)


def test_a_draft_that_breaks_off_does_not_stand_in() -> None:
    def reply(call: Call) -> FakeReply:
        if call.role == "proposer":
            return Draft(draft_of(call.slot), cut=call.slot == 1)
        return "no idea"

    assert drive(ask_panel(TASK, PANEL), reply).answer.text == draft_of(2)


def test_an_only_draft_needs_no_judge() -> None:
    def reply(call: Call) -> FakeReply:
        return draft_of(3) if call.slot == 3 else Failure(Reason.TIMEOUT)

    played = drive(ask_panel(TASK, PANEL), reply)

    assert played.answer.text == draft_of(3)
    assert played.answer.method["select"] == {"chosen": 3, "how": "the only draft"}
    assert with_role(played.calls, "judge") == []


def test_without_any_draft_the_aggregator_answers_alone() -> None:
    played = selected(naming(1), a_panel(slots=0, layers=1, conclude={"by": "select"}))

    assert [call.messages for call in played.calls] == [(Message("user", TASK.question),)]


def test_the_judge_sees_the_conversation_as_material_and_no_names() -> None:
    task = Task(
        "And at dusk?",
        system="Be brief.",
        history=(Message("user", "By day?"), Message("assistant", "Blue.")),
    )

    text = prompt_of(selected(naming(1), task=task).calls[-1])

    assert all(part in text for part in ("Be brief.", "user: By day?", "assistant: Blue.", "And at dusk?"))
    assert "lab/" not in text


def test_another_seed_shows_another_order() -> None:
    orders = {
        tuple(candidates(selected(naming(1), task=Task("Q?", seed=seed)).calls[-1]).values()) for seed in range(9)
    }

    assert len(orders) > 1


def test_the_same_seed_gives_the_same_run() -> None:
    assert selected(naming(2)) == selected(naming(2))


def test_the_packaged_preset_makes_two_calls_more_than_it_has_drafts() -> None:
    planned = dry_run(ask_panel(TASK, packaged("ranker")))

    assert (planned.calls, planned.rounds) == (8, 2)
