"""Vote: the answer that most drafts come to, without asking a model."""

from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError

from moa_mcp.domain.errors import Reason
from moa_mcp.domain.model import Call, Draft, EmbedCall, Failure
from moa_mcp.flows.panel import ask_panel
from moa_mcp.flows.planning.dry_run import dry_run
from moa_mcp.testing.playing import Played, drive
from tests.flows.judge import FakeReply, Judge, as_json, candidates
from tests.flows.panel import TASK, a_panel, is_plain, packaged
from tests.results import embeddings

SUNNY = "The sky scatters blue light more than red light\nand so it looks blue by day."
ALSO = "The sky scatters blue light more than red light\nand therefore looks blue by day."
CHEESE = "Nobody knows the reason\nbut the moon is made of cheese anyway."


def voted(*reply: FakeReply, pattern: str | None = None) -> Played:
    conclude = {"by": "vote"} | ({"pattern": pattern} if pattern else {})
    preset = a_panel(slots=len(reply), conclude=conclude)
    return drive(ask_panel(TASK, preset), lambda call: reply[call.slot - 1])


def test_the_most_frequent_answer_wins_with_the_text_of_its_first_draft() -> None:
    played = voted("It is 7.", r"Surely \boxed{8}", "Final answer: 8.0", "I say 8!")

    assert played.answer.text == r"Surely \boxed{8}"
    assert not played.answer.degraded
    assert played.answer.method["vote"] == {
        "by": "answer",
        "chosen": 2,
        "tie": False,
        "votes": [{"answer": "8", "votes": 3}, {"answer": "7", "votes": 1}],
        "answers": {"1": "7", "2": "8", "3": "8", "4": "8"},
    }


def test_no_model_is_asked_for_the_vote() -> None:
    assert [call.role for call in voted("7", "8", "8").calls] == ["proposer"] * 3


def test_of_tied_answers_the_smallest_slot_wins_and_the_tie_is_noted() -> None:
    answer = voted("b", "a", "a", "b").answer
    facts = answer.method["vote"]

    assert (facts["chosen"], facts["tie"], answer.degraded) == (1, True, True)
    assert any("a tie of b and a, with 2 of 4 votes each" in note for note in answer.notes)


def test_fewer_than_half_of_the_votes_are_a_note_and_degraded() -> None:
    answer = voted("1", "2", "3", "3", "4").answer

    assert (answer.text, answer.degraded) == ("3", True)
    assert any("3 has 2 of 5 votes" in note for note in answer.notes)
    assert not voted("1", "3", "3", "4").answer.degraded


TOLSTOYS = ["It was Leo Tolstoy.", "Leo Tolstoy wrote it.", "The author is Tolstoy.", "Tolstoy, Lev Nikolayevich."]
DOSTOEVSKY = "Fyodor Dostoevsky."


def compared(judge: Judge, *drafts: str, **spec: Any) -> Played:
    preset = a_panel(slots=len(drafts), conclude={"by": "vote", **spec})
    return drive(
        ask_panel(TASK, preset), lambda call: drafts[call.slot - 1] if call.role == "proposer" else judge(call)
    )


def joined(call: Call) -> str:
    """Whoever is a Tolstoy is the same."""
    letters = candidates(call)
    tolstoys = [letter for letter, text in letters.items() if "Tolstoy" in text]
    return as_json(groups=[tolstoys, [letter for letter in letters if letter not in tolstoys]])


def test_a_judge_says_which_names_are_the_same_where_their_forms_do_not() -> None:
    played = compared(joined, DOSTOEVSKY, DOSTOEVSKY, *TOLSTOYS)

    assert played.answer.text == TOLSTOYS[0]
    assert played.answer.method["vote"]["votes"][0]["votes"] == 4
    assert played.answer.method["vote"]["grouped"] == "first try"
    assert [call.model for call in played.calls if call.role == "comparer"] == ["lab/agg"]
    assert not played.answer.degraded


def test_the_preset_can_name_the_judge() -> None:
    played = compared(joined, DOSTOEVSKY, *TOLSTOYS, model="lab/judge")

    assert played.calls[-1].model == "lab/judge"


@pytest.mark.parametrize("reply", ["I cannot say", '{"groups": [["A"]]}', Failure(Reason.TIMEOUT)])
def test_where_the_judge_cannot_be_read_the_forms_decide_and_the_answer_is_degraded(reply: FakeReply) -> None:
    played = compared(lambda _: reply, DOSTOEVSKY, DOSTOEVSKY, *TOLSTOYS)

    assert played.answer.degraded
    assert any("their forms decide" in note for note in played.answer.notes)


def test_a_majority_by_form_needs_no_judge_and_nor_do_numbers() -> None:
    assert compared(joined, "Leo Tolstoy.", "By Leo Tolstoy.", DOSTOEVSKY).calls[-1].role == "proposer"
    assert compared(joined, "1", "2", "3").calls[-1].role == "proposer"


def test_the_drafts_are_asked_for_a_closing_line_and_the_judge_is_not() -> None:
    played = compared(joined, DOSTOEVSKY, *TOLSTOYS)

    asked = {call.role: "Final answer: …" in call.messages[-1].text for call in played.calls}
    assert asked == {"proposer": True, "comparer": False}


def test_a_failed_sample_has_no_vote_and_slots_keep_their_numbers() -> None:
    facts = voted("7", Failure(Reason.TIMEOUT), "8", "8").answer.method["vote"]

    assert facts["answers"] == {"1": "7", "3": "8", "4": "8"}
    assert facts["chosen"] == 3


def test_open_texts_vote_by_likeness_and_an_outlier_never_wins() -> None:
    for place in range(3):
        texts = [SUNNY, ALSO]
        texts.insert(place, CHEESE)
        played = voted(*texts)

        facts = played.answer.method["vote"]
        assert played.answer.text in (SUNNY, ALSO)
        assert (facts["by"], facts["unread"], facts["similarity"]) == ("similarity", 3, "lexical")
        assert is_plain(facts)
        assert any("most like the others" in note for note in played.answer.notes)


def test_open_texts_are_compared_by_embeddings_where_there_is_a_model_for_them() -> None:
    texts = [CHEESE, SUNNY, ALSO]
    vectors = embeddings([1, 0], [0, 1], [0.1, 1])
    preset = a_panel(slots=3, conclude={"by": "vote"})
    task = replace(TASK, embeddings="lab/embed")

    played = drive(
        ask_panel(task, preset),
        lambda call: vectors if isinstance(call, EmbedCall) else texts[call.slot - 1],
    )

    assert played.calls[-1].role == "embedder"
    assert played.answer.method["vote"]["similarity"] == "embeddings"
    assert played.answer.text == ALSO


def test_half_of_the_drafts_with_an_answer_are_enough_to_count() -> None:
    assert voted(SUNNY, "7").answer.text == "7"


def test_a_pattern_says_what_is_counted() -> None:
    played = voted("verdict: no 9", "verdict: yes 1", "verdict: yes 2", pattern=r"verdict: (\w+)")

    assert played.answer.method["vote"]["votes"][0] == {"answer": "yes", "votes": 2}


@pytest.mark.parametrize(("pattern", "message"), [("(", "no regular expression"), (r"(a)\1", "not supported")])
def test_a_pattern_that_cannot_be_used_is_refused_with_the_preset(pattern: str, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        a_panel(conclude={"by": "vote", "pattern": pattern})


def test_the_only_draft_wins() -> None:
    assert voted(SUNNY).answer.text == SUNNY
    assert voted("7").answer.method["vote"]["tie"] is False


def test_the_facts_hold_no_long_texts() -> None:
    facts = voted(*[r"\boxed{" + "x" * 3_000 + "}"] * 3).answer.method["vote"]

    assert is_plain(facts)
    assert len(str(facts)) < 2_000


CUT = [Draft("7", cut=True), Draft("7", finish_reason="length")]


@pytest.mark.parametrize("cut", CUT)
def test_drafts_that_were_cut_do_not_vote_and_that_is_said(cut: Draft) -> None:
    answer = voted(cut, cut, "The result is 8.", cut, "8").answer

    assert answer.text == "The result is 8."
    assert answer.method["vote"]["answers"] == {"3": "8", "5": "8"}
    assert "drafts that were cut do not vote: 3" in answer.notes
    assert not answer.degraded


@pytest.mark.parametrize("cut", CUT)
def test_if_every_draft_was_cut_the_answer_is_degraded(cut: Draft) -> None:
    answer = voted(cut, cut).answer

    assert (answer.text, answer.degraded) == ("7", True)
    assert "every draft was cut" in answer.notes


def test_the_same_drafts_give_the_same_vote() -> None:
    assert voted(SUNNY, CHEESE, ALSO) == voted(SUNNY, CHEESE, ALSO)


def test_the_packaged_preset_makes_ten_calls_and_one_of_a_judge_at_most() -> None:
    planned = dry_run(ask_panel(TASK, packaged("vote")))

    assert (planned.calls, planned.rounds) == (11, 2)
