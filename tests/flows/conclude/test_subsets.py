"""Subsets of the drafts are aggregated and compared: dropout and vote, dropout and cluster, leave one out."""

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from moa_mcp.domain.errors import Reason, RunFailed
from moa_mcp.domain.model import Call, Failure
from moa_mcp.flows.conclude.subsets import draw_subsets, leave_one_out, rotate_subsets
from moa_mcp.flows.panel import ask_panel
from moa_mcp.flows.planning.dry_run import dry_run
from moa_mcp.testing.playing import Played, drive
from tests.flows.judge import FakeReply, as_json
from tests.flows.panel import TASK, a_panel, draft_of, is_plain, prompt_of, with_role

PROSE = "The sky scatters short waves of light more than long ones and so it looks blue to us\nby day."
ALONE = as_json(groups=[[letter] for letter in "ABCDEFG"])
"""What a judge says that finds no two of seven texts the same."""
OTHER = "Tomatoes grow best in a warm garden with plenty of water\nand some care."


def seen(call: Call) -> set[int]:
    """The slots whose drafts a call reads."""
    return set(map(int, re.findall(r"the draft of slot (\d)", prompt_of(call))))


def concluded(mode: str, aggregates: Callable[[Call], FakeReply], slots: int = 4, seed: int = 7, **spec: Any) -> Played:
    preset = a_panel(slots=slots, conclude={"by": "subsets", "mode": mode, **spec})

    def reply(call: Call) -> FakeReply:
        return draft_of(call.slot) if call.role == "proposer" else aggregates(call)

    return drive(ask_panel(replace(TASK, seed=seed), preset), reply)


# --- which subsets -----------------------------------------------------------------------------------------------


@given(st.integers(1, 64), st.integers(1, 64), st.integers(0, 2**64 - 1))
def test_subsets_are_different_not_empty_and_as_many_as_there_are_or_may_be(count: int, most: int, seed: int) -> None:
    chosen = draw_subsets(count, most, seed)

    assert len(chosen) == len(set(chosen)) == min(most, 2**count - 1)
    assert all(subset and set(subset) <= set(range(count)) and list(subset) == sorted(subset) for subset in chosen)
    assert chosen == draw_subsets(count, most, seed)


def test_another_seed_draws_other_subsets() -> None:
    assert draw_subsets(6, 12, 1) != draw_subsets(6, 12, 2)


@given(st.integers(2, 64), st.integers(1, 64), st.integers(0, 2**64 - 1))
def test_each_of_these_lacks_another_one_draft(count: int, most: int, seed: int) -> None:
    chosen = leave_one_out(count, most, seed)

    assert len(set(chosen)) == len(chosen) == min(count, most)
    assert all(len(set(subset)) == count - 1 for subset in chosen)


@given(st.integers(2, 20), st.data(), st.integers(0, 2**64 - 1))
def test_rotating_subsets_show_every_draft_equally_often(count: int, data: st.DataObject, seed: int) -> None:
    size = data.draw(st.integers(1, count - 1))
    chosen = rotate_subsets(count, size, 64, seed)

    assert len(chosen) == len(set(chosen)) == count
    assert {len(set(subset)) for subset in chosen} == {size}
    assert {sum(index in subset for subset in chosen) for index in range(count)} == {size}
    assert chosen == rotate_subsets(count, size, 64, seed)


def test_rotating_subsets_keep_to_their_limit_and_to_what_is_there() -> None:
    assert len(rotate_subsets(6, 2, 4, 7)) == 4
    assert rotate_subsets(2, 3, 15, 7) == ((0, 1),)


@pytest.mark.parametrize("liar", [1, 2, 3, 4, 5])
def test_where_each_aggregation_reads_fewer_than_half_one_liar_never_wins_although_it_fools_all_that_read_it(
    liar: int,
) -> None:
    def fooled(call: Call) -> str:
        return "Final answer: 5" if liar in seen(call) else "Final answer: 4"

    played = concluded("vote", fooled, slots=5, reads=2)

    assert [len(seen(call)) for call in with_role(played.calls, "variant")] == [2] * 5
    assert played.answer.text == "Final answer: 4"


@pytest.mark.parametrize(("mode", "calls"), [("vote", 5 + 5 + 1), ("cluster", 5 + 5 + 1 + 1)])
def test_a_rehearsal_counts_one_aggregation_for_each_rotating_subset(mode: str, calls: int) -> None:
    preset = a_panel(slots=5, conclude={"by": "subsets", "mode": mode, "reads": 2})

    assert dry_run(ask_panel(TASK, preset)).calls == calls


@pytest.mark.parametrize(
    ("spec", "problem"),
    [({"mode": "vote", "reads": 4}, "at most 3"), ({"reads": 2}, "leave-one-out reads all drafts but one")],
)
def test_subsets_that_cannot_rotate_are_refused(spec: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        a_panel(slots=4, conclude={"by": "subsets", **spec})


# --- leave one out -----------------------------------------------------------------------------------------------


def test_all_drafts_and_each_set_without_one_are_aggregated() -> None:
    played = concluded("leave-one-out", lambda _: "Final answer: 4")

    everyone = {1, 2, 3, 4}
    assert [seen(call) for call in with_role(played.calls, "variant")] == [everyone - {slot} for slot in (1, 2, 3, 4)]
    assert [seen(call) for call in with_role(played.calls, "aggregator")] == [everyone]
    assert len(played.calls) == 4 + 4 + 1
    assert played.answer.method["subsets"]["flips"] == []


def test_a_draft_without_which_the_answer_is_another_is_named() -> None:
    played = concluded("leave-one-out", lambda call: "Final answer: 4" if 3 in seen(call) else "Final answer: 5")

    assert played.answer.text == "Final answer: 4"
    assert played.answer.degraded
    assert played.answer.method["subsets"]["flips"] == [3]
    assert played.answer.method["subsets"]["by"] == "answer"
    assert "without the draft of slot 3 the answer would be another" in played.answer.notes
    assert is_plain(played.answer.method)


def test_open_texts_flip_where_they_stand_apart_from_the_answer() -> None:
    played = concluded("leave-one-out", lambda call: PROSE if 2 in seen(call) else OTHER)

    assert played.answer.method["subsets"]["flips"] == [2]
    assert played.answer.method["subsets"]["similarity"] == "lexical"


def test_open_texts_that_say_the_same_in_other_words_do_not_flip() -> None:
    played = concluded("leave-one-out", lambda call: PROSE if 2 in seen(call) else PROSE.replace("to us", "for us"))

    assert played.answer.method["subsets"]["flips"] == []


def test_where_every_set_without_one_says_something_else_all_of_them_flip() -> None:
    played = concluded("leave-one-out", lambda call: f"Final answer: {9 if call.role == 'aggregator' else 1}")

    assert played.answer.method["subsets"]["flips"] == [1, 2, 3, 4]


def test_one_draft_alone_is_aggregated_once() -> None:
    played = concluded("leave-one-out", lambda _: "merged", slots=1)

    assert (len(played.calls), played.answer.degraded) == (2, False)


# --- dropout and vote --------------------------------------------------------------------------------------------


def test_every_subset_is_aggregated_once_and_most_of_them_win() -> None:
    """A deceiver in slot 1 wins wherever it has no majority against it."""
    played = concluded("vote", lambda call: "(B)" if seen(call) <= {1} or seen(call) == {1, 2} else "(A)")

    variants = with_role(played.calls, "variant")
    assert len(variants) == len({frozenset(seen(call)) for call in variants}) == 15
    assert len(played.calls) == 4 + 15
    assert played.answer.text == "(A)"
    assert played.answer.method["subsets"]["votes"] == [{"answer": "a", "votes": 13}, {"answer": "b", "votes": 2}]


def test_a_tie_is_decided_by_the_seed_and_noted() -> None:
    def split(call: Call) -> FakeReply:
        return (
            "(A)" if 1 in seen(call) and len(seen(call)) < 2 else "(B)" if seen(call) == {2} else Failure(Reason.AUTH)
        )

    won = [concluded("vote", split, slots=2, seed=seed).answer for seed in range(12)]

    assert {answer.text for answer in won} == {"(A)", "(B)"}
    assert all(answer.method["subsets"]["tie"] for answer in won)
    assert won[3] == concluded("vote", split, slots=2, seed=3).answer


def test_open_texts_vote_by_similarity_with_a_note() -> None:
    played = concluded("vote", lambda call: OTHER if seen(call) == {2} else PROSE)

    assert played.answer.text == PROSE
    assert played.answer.method["subsets"]["by"] == "similarity"
    assert any("no short answer" in note for note in played.answer.notes)


def test_no_more_subsets_are_drawn_than_wanted() -> None:
    assert len(with_role(concluded("vote", lambda _: "(A)", most=5).calls, "variant")) == 5


# --- dropout and cluster -----------------------------------------------------------------------------------------


def test_the_outputs_of_the_subsets_are_aggregated_and_not_the_drafts() -> None:
    played = concluded("cluster", lambda call: f"{PROSE} {call.id}" if call.role != "comparer" else ALONE, slots=3)

    last = played.calls[-1]
    assert last.role == "aggregator"
    assert seen(last) == set()
    assert all(f"{PROSE} 2.variant.{number}" in prompt_of(last) for number in range(1, 8))
    assert len(played.calls) == 3 + 7 + 1 + 1


def test_a_minority_of_outputs_that_differs_is_set_aside_with_a_note() -> None:
    played = concluded("cluster", lambda call: OTHER if seen(call) <= {2, 3} and 2 in seen(call) else PROSE, slots=3)

    assert OTHER not in prompt_of(played.calls[-1])
    assert played.answer.method["subsets"]["dropped"] == [[2], [2, 3]]
    assert any(note.startswith("2 of 7 aggregations differ from the others") for note in played.answer.notes)


def test_outputs_that_differ_only_in_their_closing_answer_count_as_different() -> None:
    def aggregate(call: Call) -> FakeReply:
        return f"{PROSE}\n\nFinal answer: {6 if seen(call) == {1} else 4}"

    played = concluded("cluster", aggregate, slots=3)
    facts = played.answer.method["subsets"]

    assert (facts["dropped"], facts["by"]) == ([[1]], "answer")
    assert "Final answer: 6" not in prompt_of(played.calls[-1])


def test_two_groups_of_one_size_are_both_kept_and_the_reader_is_warned() -> None:
    played = concluded("cluster", lambda call: f"Final answer: {call.slot % 2}", slots=3, most=4)
    facts = played.answer.method["subsets"]
    assert (facts["tie"], facts["dropped"]) == (True, [])
    assert any("the 4 aggregations fall into two groups of one size" in note for note in played.answer.notes)


# --- when calls fail ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["leave-one-out", "vote", "cluster"])
def test_a_subset_that_fails_is_left_out_with_a_note(mode: str) -> None:
    def reply(call: Call) -> FakeReply:
        return Failure(Reason.TIMEOUT) if call.id == "2.variant.1" else "Final answer: 4"

    answer = concluded(mode, reply).answer

    assert answer.text == "Final answer: 4"
    assert len(answer.method["subsets"]["lost"]) == 1
    assert any("variant 2.1" in note for note in answer.notes)


@pytest.mark.parametrize("mode", ["leave-one-out", "vote", "cluster"])
def test_where_no_subset_comes_the_drafts_are_merged_and_the_answer_is_degraded(mode: str) -> None:
    played = concluded(mode, lambda call: Failure(Reason.TIMEOUT) if call.role == "variant" else "merged")

    assert (played.answer.text, played.answer.degraded) == ("merged", True)
    assert seen(played.calls[-1]) == {1, 2, 3, 4}
    assert any("no subset could be aggregated" in note for note in played.answer.notes)


@pytest.mark.parametrize("mode", ["leave-one-out", "vote", "cluster"])
@given(failing=st.sets(st.integers(1, 40)))
def test_every_failure_leads_to_an_answer_or_a_clear_error(mode: str, failing: set[int]) -> None:
    count = 0

    def reply(call: Call) -> FakeReply:
        nonlocal count
        count += 1
        return Failure(Reason.UNAVAILABLE) if count in failing else "(A)"

    preset = a_panel(slots=3, conclude={"by": "subsets", "mode": mode})
    try:
        answer = drive(ask_panel(TASK, preset), reply).answer
    except RunFailed:
        return
    assert answer.text == "(A)"


@pytest.mark.parametrize("mode", ["leave-one-out", "vote", "cluster"])
def test_a_rehearsal_counts_what_a_run_makes(mode: str) -> None:
    preset = a_panel(slots=4, conclude={"by": "subsets", "mode": mode})

    expected = {"leave-one-out": 4 + 4 + 1 + 1, "vote": 4 + 15 + 1, "cluster": 4 + 15 + 1 + 1}
    assert dry_run(ask_panel(TASK, preset)).calls == expected[mode]
