"""Pairs: every two drafts are compared in both orders, so that position cannot decide."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from moa_mcp.domain.errors import Reason
from moa_mcp.domain.model import Call, Draft, Failure, Task
from moa_mcp.domain.preset import Preset
from moa_mcp.flows.panel import ask_panel
from moa_mcp.flows.planning.dry_run import dry_run
from moa_mcp.testing.playing import Played, drive
from tests.flows.judge import FakeReply, Judge, as_json, candidates, judged, with_judge
from tests.flows.panel import MERGED, TASK, a_panel, draft_of, is_plain, packaged, prompt_of, with_role

PANEL = a_panel(conclude={"by": "pairs", "top": 2})
BUBBLE = a_panel(conclude={"by": "pairs", "bubble": True})


def compared(judge: Judge, preset: Preset = PANEL, task: Task = TASK) -> Played:
    return judged(judge, preset, task)


def preferring(*ranking: int) -> Callable[[Call], str]:
    """A judge that knows what is better: the draft of the slot that comes earlier in `ranking`."""
    places = {draft_of(slot): place for place, slot in enumerate(ranking)}

    def judge(call: Call) -> str:
        return as_json(better=min(candidates(call), key=lambda letter: places[candidates(call)[letter]]))

    return judge


def first_lover(_: Call) -> str:
    return as_json(reason="I like what I read first.", better="A")


def merged_drafts(played: Played) -> list[int]:
    text = prompt_of(played.calls[-1])
    found = [slot for slot in range(1, 9) if draft_of(slot) in text]
    return sorted(found, key=lambda slot: text.index(draft_of(slot)))


def test_the_best_are_merged_by_the_aggregator() -> None:
    played = compared(preferring(3, 1, 4, 2))

    assert sorted(merged_drafts(played)) == [1, 3]
    assert played.answer.text == MERGED
    assert not played.answer.degraded


def test_a_judge_that_knows_gives_the_true_ranking() -> None:
    facts = compared(preferring(3, 1, 4, 2)).answer.method["pairs"]

    assert is_plain(facts)
    assert facts["points"] == {"3": 3.0, "1": 2.0, "4": 1.0, "2": 0.0}
    assert (facts["kept"], facts["dropped"], facts["ties"], facts["unread"]) == ([3, 1], [4, 2], 0, 0)
    assert facts["results"] == ["1>2", "1<3", "1>4", "2<3", "2<4", "3>4"]


def test_a_judge_that_loves_the_first_place_gives_nothing_but_ties() -> None:
    facts = compared(first_lover).answer.method["pairs"]

    assert facts["points"] == {"1": 1.5, "2": 1.5, "3": 1.5, "4": 1.5}
    assert facts["results"] == ["1=2", "1=3", "1=4", "2=3", "2=4", "3=4"]


def test_where_all_tie_the_seed_draws_who_is_merged_and_a_note_says_so() -> None:
    runs = [judged(first_lover, PANEL, replace(TASK, seed=seed)) for seed in range(12)]

    assert len({tuple(sorted(merged_drafts(run))) for run in runs}) > 2
    assert all(any("equal points" in note for note in run.answer.notes) for run in runs)
    assert not any("equal points" in note for note in compared(preferring(3, 1, 4, 2)).answer.notes)


def test_every_pair_is_shown_in_both_orders_side_by_side() -> None:
    played = compared(first_lover)

    (_, judged, _) = played.batches
    shown = [tuple(candidates(call).values()) for call in judged.calls]
    assert len(shown) == len(set(shown)) == 4 * 3
    assert all(pair[::-1] in shown for pair in shown)


def test_the_id_of_a_comparison_names_the_draft_shown_first() -> None:
    calls = with_role(compared(first_lover).calls, "judge")

    for call in calls:
        first, second = call.id.removeprefix("2.judge.").split("-")
        assert candidates(call) == {"A": draft_of(int(first)), "B": draft_of(int(second))}


@pytest.mark.parametrize(
    "reply", [as_json(better="tie"), as_json(better=None), "It is a tie.", "Neither A nor B is better."]
)
def test_a_tie_is_half_a_point_for_each(reply: str) -> None:
    facts = compared(lambda _: reply).answer.method["pairs"]

    assert set(facts["points"].values()) == {1.5}
    assert facts["unread"] == 0


def test_a_verdict_in_prose_counts() -> None:
    knowing = preferring(3, 1, 4, 2)

    played = compared(lambda call: f"Candidate {knowing(call)[-3]} is better.")

    assert played.answer.method["pairs"]["kept"] == [3, 1]


def test_a_comparison_that_cannot_be_read_counts_as_a_tie() -> None:
    knowing = preferring(1, 2, 3, 4)

    def judge(call: Call) -> str:
        return "pass" if call.id.startswith("2.judge.2-1") else knowing(call)

    played = compared(judge)

    facts = played.answer.method["pairs"]
    assert facts["results"][0] == "1=2"
    assert facts["points"] == {"1": 2.5, "2": 2.5, "3": 1.0, "4": 0.0}
    assert "1 of 12 comparisons could not be read and count as ties" in played.answer.notes
    assert not played.answer.degraded


@pytest.mark.parametrize("reply", ["pass", Failure(Reason.AUTH)])
def test_without_any_comparison_all_drafts_are_merged_and_the_answer_says_so(reply: FakeReply) -> None:
    played = compared(lambda _: reply)

    assert sorted(merged_drafts(played)) == [1, 2, 3, 4]
    assert played.answer.degraded
    assert "no comparison could be read, so all drafts were merged" in played.answer.notes


def test_the_order_of_the_merged_drafts_does_not_reveal_their_rank() -> None:
    played = [compared(preferring(3, 1, 4, 2), task=Task("Q?", seed=seed)) for seed in range(9)]

    assert {tuple(merged_drafts(one)) for one in played} == {(1, 3), (3, 1)}
    assert all(one.answer.method["pairs"]["order"] == merged_drafts(one) for one in played)


def test_more_places_than_drafts_merge_them_all() -> None:
    played = compared(preferring(1, 2), a_panel(slots=2, conclude={"by": "pairs"}))

    assert sorted(merged_drafts(played)) == [1, 2]


def test_a_bubble_compares_neighbours_one_after_another() -> None:
    played = compared(preferring(3, 1, 4, 2), BUBBLE)

    assert [len(batch.calls) for batch in played.batches] == [4, 2, 2, 2]
    ends = [batch.until for batch in played.batches[1:]]
    assert ends == sorted(set(ends))
    assert ends[-1] == pytest.approx(1)


@pytest.mark.parametrize("best", [1, 2, 3, 4])
def test_the_best_draft_comes_through_a_bubble_from_any_place(best: int) -> None:
    others = [slot for slot in range(1, 5) if slot != best]

    answer = compared(preferring(best, *others), BUBBLE).answer

    assert answer.text == draft_of(best)
    assert answer.method["pairs"]["chosen"] == best
    assert is_plain(answer.method)


def test_in_a_bubble_a_tie_leaves_the_one_that_stood() -> None:
    facts = compared(first_lover, BUBBLE).answer.method["pairs"]

    assert facts["chosen"] == facts["order"][0]
    assert facts["ties"] == 3


def test_a_bubble_without_any_verdict_gives_the_first_whole_draft() -> None:
    def reply(call: Call) -> FakeReply:
        if call.role == "proposer":
            return Draft(draft_of(call.slot), cut=call.slot == 1)
        return Failure(Reason.UNAVAILABLE)

    answer = drive(ask_panel(TASK, BUBBLE), reply).answer

    assert answer.text == draft_of(2)
    assert answer.degraded
    assert "no comparison could be read; the first whole draft is the answer" in answer.notes


@pytest.mark.parametrize("preset", [PANEL, BUBBLE])
def test_an_only_draft_has_nothing_to_be_compared_with(preset: Preset) -> None:
    def reply(call: Call) -> FakeReply:
        failed = call.role == "proposer" and call.slot != 3
        return Failure(Reason.TIMEOUT) if failed else with_judge(first_lover)(call)

    played = drive(ask_panel(TASK, preset), reply)

    assert with_role(played.calls, "judge") == []
    assert not played.answer.degraded


@pytest.mark.parametrize("preset", [PANEL, BUBBLE])
def test_the_same_seed_gives_the_same_run(preset: Preset) -> None:
    assert compared(preferring(2, 1, 3, 4), preset) == compared(preferring(2, 1, 3, 4), preset)


def test_the_packaged_preset_makes_the_calls_of_its_formula() -> None:
    preset = packaged("blender")
    bubble = preset.model_copy(update={"conclude": preset.conclude.model_copy(update={"bubble": True})})

    assert dry_run(ask_panel(TASK, preset)).calls == 6 + 6 * 5 + 1
    assert dry_run(ask_panel(TASK, preset)).rounds == 3
    assert dry_run(ask_panel(TASK, bubble)).calls == 6 + 2 * 5


@pytest.mark.parametrize("best", [1, 3, 4])
def test_if_no_model_can_merge_the_best_draft_is_the_answer(best: int) -> None:
    ranking = (best, *(number for number in (2, 4, 1, 3) if number != best))

    def reply(call: Call) -> FakeReply:
        return Failure(Reason.OVERLOADED) if call.role == "aggregator" else with_judge(preferring(*ranking))(call)

    assert drive(ask_panel(TASK, PANEL), reply).answer.text == draft_of(best)
