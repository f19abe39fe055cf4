"""Vote: the answer that most drafts come to, without asking a model."""

from dataclasses import replace

import pytest
from pydantic import ValidationError

from moa_mcp.domain.errors import Reason
from moa_mcp.domain.model import Draft, EmbedCall, Failure
from moa_mcp.flows.panel import ask_panel
from moa_mcp.flows.planning.dry_run import dry_run
from moa_mcp.testing.playing import Played, drive
from tests.flows.judge import FakeReply
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


def test_of_tied_answers_the_smallest_slot_wins_and_the_facts_show_the_tie() -> None:
    facts = voted("b", "a", "a", "b").answer.method["vote"]

    assert (facts["chosen"], facts["tie"]) == (1, True)


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


def test_a_cut_winner_is_marked_as_degraded() -> None:
    answer = voted(replace(Draft("7"), cut=True), "7").answer

    assert answer.degraded


def test_the_same_drafts_give_the_same_vote() -> None:
    assert voted(SUNNY, CHEESE, ALSO) == voted(SUNNY, CHEESE, ALSO)


def test_the_packaged_preset_makes_ten_calls_in_one_round() -> None:
    planned = dry_run(ask_panel(TASK, packaged("vote")))

    assert (planned.calls, planned.rounds) == (10, 1)
