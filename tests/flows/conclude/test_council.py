"""Council: every member ranks the anonymous drafts, and the aggregator takes the chair."""

import pytest

from moa_mcp.domain.errors import Reason
from moa_mcp.domain.model import Call, Failure
from moa_mcp.domain.preset import Preset
from moa_mcp.flows.panel import ask_panel
from moa_mcp.flows.planning.dry_run import dry_run
from moa_mcp.testing.playing import Played, drive
from tests.flows.judge import FakeReply, Judge, as_json, candidates, judged, letter_of, with_judge
from tests.flows.panel import MERGED, TASK, a_panel, draft_of, is_plain, packaged, prompt_of, with_role

PANEL = a_panel(slots=3, conclude={"by": "council"})


def convened(judge: Judge, preset: Preset = PANEL) -> Played:
    return judged(judge, preset)


def voting(**votes: tuple[int, ...]) -> Judge:
    """Members p1, p2 … that rank the slots in these orders."""

    def judge(call: Call) -> str:
        order = votes[call.model.removeprefix("lab/")]
        return as_json(remarks=f"said by {call.slot}", ranking=[letter_of(call, slot) for slot in order])

    return judge


VOTES = voting(p1=(1, 2, 3), p2=(1, 3, 2), p3=(2, 1, 3))


def test_a_ranking_of_objects_counts_and_one_of_numbers_does_not() -> None:
    """Each member sees another candidate first, so the second is not B for all."""

    def judge(call: Call) -> str:
        if call.slot == 1:
            return as_json(ranking=[{"rank": place, "candidate": letter_of(call, place)} for place in (1, 2, 3)])
        return as_json(ranking=[1, 2, 3])

    facts = convened(judge).answer.method["council"]

    assert facts["rankings"] == {"1": [1, 2, 3]}
    assert list(facts["unread"]) == ["2", "3"]


def test_n_members_make_two_calls_each_and_the_chairman_one() -> None:
    played = convened(VOTES)

    assert [[call.role for call in batch.calls] for batch in played.batches] == [
        ["proposer"] * 3,
        ["ranker"] * 3,
        ["aggregator"],
    ]
    assert [call.model for call in played.batches[1].calls] == ["lab/p1", "lab/p2", "lab/p3"]
    assert played.answer.text == MERGED


def test_every_member_ranks_all_drafts_its_own_included_and_sees_no_names() -> None:
    for call in with_role(convened(VOTES).calls, "ranker"):
        assert sorted(candidates(call).values()) == [draft_of(1), draft_of(2), draft_of(3)]
        assert "lab/" not in prompt_of(call)


def test_members_see_the_same_letters_but_not_the_same_draft_first() -> None:
    shown = [candidates(call) for call in with_role(convened(VOTES).calls, "ranker")]

    assert shown[0] == shown[1] == shown[2]
    assert {next(iter(one)) for one in shown} == {"A", "B", "C"}


def test_the_facts_have_the_votes_and_average_ranks() -> None:
    played = convened(VOTES)

    facts = played.answer.method["council"]
    assert is_plain(facts)
    assert facts["rankings"] == {"1": [1, 2, 3], "2": [1, 3, 2], "3": [2, 1, 3]}
    assert facts["average_rank"] == {"1": 1.33, "2": 2.0, "3": 2.67}
    assert {letter: draft_of(slot) for letter, slot in facts["letters"].items()} == candidates(
        with_role(played.calls, "ranker")[0]
    )


def test_the_chairman_reads_drafts_average_ranks_and_votes() -> None:
    played = convened(VOTES)

    shown = candidates(with_role(played.calls, "ranker")[0])
    first = next(letter for letter, text in shown.items() if text == draft_of(1))
    text = prompt_of(played.calls[-1])
    assert all(draft_of(slot) in text for slot in (1, 2, 3))
    assert f"Average rank, 1 being the best: {first} 1.33, " in text
    assert f"Member 1: {first} > " in text
    assert "said by 3" in text
    assert "lab/" not in text


def test_samples_of_one_proposer_are_one_member() -> None:
    proposers = [{"model": "lab/p1", "samples": 2}, "lab/p2"]

    played = convened(VOTES, a_panel(proposers=proposers, conclude={"by": "council"}))

    assert [call.id for call in with_role(played.calls, "ranker")] == ["2.ranker.1", "2.ranker.3"]


def test_a_member_without_a_draft_does_not_vote() -> None:
    def reply(call: Call) -> FakeReply:
        failed = call.role == "proposer" and call.slot == 2
        return Failure(Reason.TIMEOUT) if failed else with_judge(voting(p1=(1, 3), p3=(3, 1)))(call)

    played = drive(ask_panel(TASK, PANEL), reply)

    assert played.answer.method["council"]["rankings"] == {"1": [1, 3], "3": [3, 1]}
    assert len(played.calls) == 3 + 2 + 1


@pytest.mark.parametrize(
    "form",
    [
        "{} is best, then {} and {}.",
        "All are fine: A, B, C.\nFINAL RANKING:\n1. {}\n2. {}\n3. {}",
        "{} > {} > {}",
    ],
)
def test_a_ranking_in_prose_counts(form: str) -> None:
    played = convened(lambda call: form.format(*(letter_of(call, slot) for slot in (3, 1, 2))))

    assert played.answer.method["council"]["rankings"]["1"] == [3, 1, 2]
    assert len(with_role(played.calls, "ranker")) == 3


@pytest.mark.parametrize(
    "reply",
    [
        "",
        "I abstain.",
        as_json(ranking=["A"]),
        as_json(ranking=["A", "B", "Z"]),
        as_json(ranking=["A", "B", "B"]),
        as_json(ranking=3),
    ],
)
def test_a_ranking_that_cannot_be_read_is_asked_for_again_and_then_left_out(reply: str) -> None:
    played = convened(lambda call: reply if call.slot == 2 else VOTES(call))

    facts = played.answer.method["council"]
    assert list(facts["rankings"]) == ["1", "3"]
    assert facts["unread"] == {"2": "out of form"}
    assert "the ranking of member 2 was left out: out of form" in played.answer.notes
    assert [call.id for call in played.batches[2].calls] == ["2.ranker.2.again"]
    assert not played.answer.degraded


@pytest.mark.parametrize("reply", ["I abstain.", Failure(Reason.BILLING)])
def test_without_any_ranking_the_drafts_are_merged_plainly_and_the_answer_says_so(reply: FakeReply) -> None:
    played = convened(lambda _: reply)
    plain = judged(lambda _: "", a_panel(slots=3))

    assert played.calls[-1].messages == plain.calls[-1].messages
    assert (played.answer.text, played.answer.degraded) == (MERGED, True)
    assert "no member ranked the drafts; they were merged without ranks" in played.answer.notes


def test_an_only_draft_is_not_ranked() -> None:
    def reply(call: Call) -> FakeReply:
        failed = call.role == "proposer" and call.slot != 2
        return Failure(Reason.TIMEOUT) if failed else MERGED

    played = drive(ask_panel(TASK, PANEL), reply)

    assert with_role(played.calls, "ranker") == []
    assert (played.answer.text, played.answer.degraded) == (MERGED, False)


def test_a_slow_member_is_waited_for_as_a_slow_proposer_is() -> None:
    preset = a_panel(slots=3, conclude={"by": "council"}, straggler_grace_seconds=7)

    assert convened(VOTES, preset).batches[1].grace_seconds == 7


def test_the_same_seed_gives_the_same_run() -> None:
    assert convened(VOTES) == convened(VOTES)


def test_the_packaged_preset_makes_two_n_and_one_calls_in_three_rounds() -> None:
    planned = dry_run(ask_panel(TASK, packaged("council")))

    assert (planned.calls, planned.rounds) == (2 * 4 + 1, 3)


def test_if_no_chairman_answers_the_draft_with_the_best_average_rank_is_the_answer() -> None:

    def reply(call: Call) -> FakeReply:
        return (
            Failure(Reason.OVERLOADED)
            if call.role == "aggregator"
            else with_judge(voting(p1=(2, 1, 3), p2=(2, 3, 1), p3=(1, 2, 3)))(call)
        )

    assert drive(ask_panel(TASK, PANEL), reply).answer.text == draft_of(2)
