"""Rate: each draft is rated alone, and the best rated is the answer."""

from dataclasses import replace

import pytest

from moa_mcp.domain.errors import Reason
from moa_mcp.domain.model import Answer, Call, Draft, Failure
from moa_mcp.domain.preset import Preset
from moa_mcp.flows.panel import ask_panel
from moa_mcp.flows.planning.dry_run import dry_run
from moa_mcp.testing.playing import Played, drive
from tests.flows.judge import FakeReply, Judge, as_json, candidates, judged, with_judge
from tests.flows.panel import TASK, a_panel, draft_of, is_plain, packaged, with_role

PANEL = a_panel(conclude={"by": "rate"})


def rated(judge: Judge, preset: Preset = PANEL) -> Played:
    return judged(judge, preset)


def with_scores(*scores: float) -> Judge:
    """A judge that gives the drafts of slots 1, 2 … these scores."""
    return lambda call: as_json(reason="So it is.", score=scores[call.slot - 1])


@pytest.mark.parametrize(("scores", "best"), [((3, 9, 5, 8), 2), ((0, 0, 0, 0.5), 4), ((2, 9, 10, 1), 3)])
def test_the_best_rated_draft_wins(scores: tuple[float, ...], best: int) -> None:
    answer = rated(with_scores(*scores)).answer

    assert answer.text == draft_of(best)
    assert not answer.degraded


def test_of_equals_the_seed_draws_one_and_a_note_says_so() -> None:
    def drawn(seed: int) -> Answer:
        return drive(ask_panel(replace(TASK, seed=seed), PANEL), with_judge(with_scores(2, 9, 9, 9))).answer

    answers = [drawn(seed) for seed in range(20)]

    assert {answer.text for answer in answers} == {draft_of(2), draft_of(3), draft_of(4)}
    assert all("slots 2 and 3 and 4 have the highest rating: the answer was drawn" in one.notes for one in answers)
    assert drawn(3) == drawn(3)


def cut_draft_of(slot: int, *scores: float) -> Answer:
    def reply(call: Call) -> FakeReply:
        if call.role == "proposer":
            return Draft(draft_of(call.slot), finish_reason="length" if call.slot == slot else "stop")
        return with_scores(*scores)(call)

    return drive(ask_panel(TASK, PANEL), reply).answer


def test_a_cut_draft_does_not_win_unnoticed_and_not_over_a_whole_one_of_its_rating() -> None:
    best, equal = cut_draft_of(2, 1, 9, 1, 1), cut_draft_of(2, 1, 9, 1, 9)

    assert (best.text, best.degraded) == (draft_of(2), True)
    assert any(note.startswith("the draft that is the answer ") for note in best.notes)
    assert (equal.text, equal.degraded) == (draft_of(4), False)


def test_each_draft_is_rated_in_a_conversation_of_its_own() -> None:
    played = rated(with_scores(1, 2, 3, 4))

    judged = played.batches[-1].calls
    assert [call.id for call in judged] == ["2.judge.1", "2.judge.2", "2.judge.3", "2.judge.4"]
    assert [list(candidates(call).values()) for call in judged] == [[draft_of(slot)] for slot in range(1, 5)]
    assert all([message.speaker for message in call.messages] == ["system", "user"] for call in judged)


def test_it_takes_two_calls_for_each_draft_in_two_rounds() -> None:
    played = rated(with_scores(1, 2, 3, 4))

    assert [len(batch.calls) for batch in played.batches] == [4, 4]


def test_the_facts_have_every_score() -> None:
    facts = rated(with_scores(1, 2.5, 10, 4)).answer.method["rate"]

    assert is_plain(facts)
    assert facts == {"chosen": 3, "scores": {"1": 1.0, "2": 2.5, "3": 10.0, "4": 4.0}, "unread": {}}


@pytest.mark.parametrize(
    "form",
    [
        "{}",
        "{}/10",
        "**{}**",
        "Score: {}",
        "I give it {} out of 10.",
        "On a scale from 0 to 10 my rating is {}.",
        "Score: 1 at first sight, final score: {}",
        '{{"score": "{}/10"}}',
        '{{"score": "{} (good)"}}',
        '{{"score": "{}/10, mostly right"}}',
        '{{"score": "{} - it is right"}}',
        '```json\n{{"Score": {}}}\n```',
    ],
)
def test_a_score_is_read_in_many_forms(form: str) -> None:
    played = rated(lambda call: form.format((3, 8, 2, 5.5)[call.slot - 1]))

    assert played.answer.method["rate"]["scores"] == {"1": 3.0, "2": 8.0, "3": 2.0, "4": 5.5}
    assert len(with_role(played.calls, "judge")) == 4


@pytest.mark.parametrize(
    "reply",
    [
        "",
        "excellent",
        as_json(score=11),
        as_json(score=-1),
        as_json(score=None),
        as_json(score=True),
        as_json(score="7 or 8"),
        as_json(score="7-8"),
        as_json(score="70 %"),
        as_json(score="7/100"),
        as_json(score="7 of 12"),
    ],
)
def test_a_rating_that_cannot_be_read_leaves_its_draft_out(reply: str) -> None:
    played = rated(lambda call: reply if call.slot == 4 else as_json(score=call.slot))

    assert played.answer.text == draft_of(3)
    assert played.answer.method["rate"]["unread"] == {"4": "out of form"}
    assert not played.answer.degraded
    assert [call.id for call in played.batches[-1].calls] == ["2.judge.4.again"]


def test_a_failed_rating_leaves_its_draft_out_too() -> None:
    played = rated(lambda call: Failure(Reason.OVERLOADED) if call.slot == 4 else as_json(score=call.slot))

    assert played.answer.text == draft_of(3)
    assert "overloaded" in played.answer.method["rate"]["unread"]["4"]


@pytest.mark.parametrize("said", ["fine", Failure(Reason.AUTH)])
def test_without_any_rating_the_first_whole_draft_is_the_answer(said: FakeReply) -> None:
    def reply(call: Call) -> FakeReply:
        if call.role == "proposer":
            return Draft(draft_of(call.slot), finish_reason="length" if call.slot == 1 else "stop")
        return said

    answer = drive(ask_panel(TASK, PANEL), reply).answer

    assert answer.text == draft_of(2)
    assert answer.degraded
    assert "no rating could be read; the first whole draft is the answer" in answer.notes


def test_scores_keep_to_the_slots_where_a_proposer_failed() -> None:
    def reply(call: Call) -> FakeReply:
        failed = call.role == "proposer" and call.slot == 2
        return Failure(Reason.TIMEOUT) if failed else with_judge(with_scores(5, 0, 6, 4))(call)

    answer = drive(ask_panel(TASK, PANEL), reply).answer

    assert answer.text == draft_of(3)
    assert answer.method["rate"]["scores"] == {"1": 5.0, "3": 6.0, "4": 4.0}


def test_the_same_seed_gives_the_same_run() -> None:
    assert rated(with_scores(1, 2, 3, 4)) == rated(with_scores(1, 2, 3, 4))


def test_the_packaged_preset_makes_two_calls_for_each_of_three_samples() -> None:
    planned = dry_run(ask_panel(TASK, packaged("best-of-n")))

    assert (planned.calls, planned.rounds) == (6, 2)
