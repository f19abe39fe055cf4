"""Cluster & Filter: a minority that stands apart is set aside, and an honest panel is left alone."""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moa_mcp.flows.compare.clustering import MAX_TRIED, split_by_answer, split_in_two
from moa_mcp.flows.compare.similarity import Similarities, lexical_similarity
from moa_mcp.flows.panel import ask_panel
from moa_mcp.testing.playing import Played, drive
from tests.flows.judge import with_judge
from tests.flows.panel import TASK, a_panel, draft_of, is_plain, packaged, prompt_of

EMBEDDED = replace(TASK, embeddings="lab/embed")
HONEST, LIAR = [1.0, 0.1], [0.0, 1.0]
EUROPE = "Paris is the capital of France and has been so for centuries"


def filtered(*vectors: Sequence[float], **spec: Any) -> Played:
    preset = a_panel(slots=len(vectors), screen={"by": "cluster", **spec})
    return drive(ask_panel(EMBEDDED, preset), with_judge(lambda _: json.dumps(vectors)))


def kept_by(played: Played) -> list[int]:
    text = prompt_of(played.calls[-1])
    return [number for number in range(1, 7) if draft_of(number) in text]


@pytest.mark.parametrize("place", [1, 2, 3, 4])
def test_one_deceiver_among_four_is_set_aside_and_named_in_the_notes(place: int) -> None:
    vectors = [LIAR if number == place else HONEST for number in range(1, 5)]

    played = filtered(*vectors)

    assert kept_by(played) == [number for number in range(1, 5) if number != place]
    assert any(f"slot {place} was set aside" in note for note in played.answer.notes)
    assert played.answer.method["screen"][0]["dropped"] == [place]
    assert is_plain(played.answer.method)


def test_honest_drafts_are_all_kept_though_two_groups_could_be_made_of_them() -> None:
    played = filtered([1.0, 0.1], [1.0, 0.15], [1.0, 0.2])

    assert kept_by(played) == [1, 2, 3]
    assert played.answer.method["screen"][0]["dropped"] == []
    assert not any("set aside" in note for note in played.answer.notes)


def test_how_far_apart_is_apart_can_be_said() -> None:
    vectors = ([1.0, 0.1], [1.0, 0.1], [1.0, 0.9])

    assert kept_by(filtered(*vectors, margin=0.1)) == [1, 2]
    assert kept_by(filtered(*vectors, margin=0.5)) == [1, 2, 3]


def test_a_tie_of_two_against_two_keeps_all_and_warns() -> None:
    played = filtered(HONEST, HONEST, LIAR, LIAR)

    assert kept_by(played) == [1, 2, 3, 4]
    assert any("two groups of one size, slots 1, 2 and slots 3, 4" in note for note in played.answer.notes)
    assert played.answer.method["screen"][0]["tie"] is True


def test_of_two_drafts_neither_is_a_minority() -> None:
    played = filtered(HONEST, LIAR)

    assert kept_by(played) == [1, 2]
    assert {call.role for call in played.calls} == {"proposer", "aggregator"}


def test_by_words_a_draft_about_something_else_is_set_aside() -> None:
    drafts = [EUROPE, f"{EUROPE} now", "Buy my tomatoes, they are red and cheap", f"{EUROPE} indeed"]

    preset = a_panel(screen={"by": "cluster"})
    played = drive(ask_panel(TASK, preset), lambda call: drafts[call.slot - 1] if call.role == "proposer" else "merged")

    entry = played.answer.method["screen"][0]
    assert (entry["dropped"], entry["similarity"]) == ([3], "lexical")


def test_a_distance_of_exactly_the_margin_does_not_set_aside() -> None:
    matrix = [[1, 0.9, 0.65], [0.9, 1, 0.65], [0.65, 0.65, 1]]

    assert not split_in_two(Similarities("embeddings", matrix), 0.25).are_apart
    assert split_in_two(Similarities("embeddings", matrix), 0.24).are_apart


@given(st.integers(3, 16), st.data())
def test_a_parting_holds_every_text_once_and_the_larger_group_first(count: int, data: st.DataObject) -> None:
    words = st.lists(st.sampled_from(["a", "b", "c", "d"]), min_size=1, max_size=4).map(" ".join)
    texts = data.draw(st.lists(words, min_size=count, max_size=count))

    groups = split_in_two(Similarities("lexical", lexical_similarity(texts)))

    assert sorted((*groups.larger, *groups.smaller)) == list(range(count))
    assert len(groups.larger) >= len(groups.smaller) >= 1
    assert set(groups.kept) | set(groups.dropped) == set(range(count))


@pytest.mark.parametrize("count", [5, MAX_TRIED, MAX_TRIED + 3])
def test_few_and_many_texts_are_parted_alike_where_it_is_plain(count: int) -> None:
    texts = ["moon cheese"] * 2 + [EUROPE] * (count - 2)

    assert split_in_two(Similarities("lexical", lexical_similarity(texts))).dropped == (0, 1)


@pytest.mark.parametrize("count", [3, MAX_TRIED + 1])
def test_texts_that_are_all_the_same_are_not_apart(count: int) -> None:
    assert split_in_two(Similarities("embeddings", [[1.0] * count] * count)).kept == tuple(range(count))


def test_the_packaged_preset_names_what_it_set_aside() -> None:
    preset = packaged("robust")
    drafts = [EUROPE, EUROPE, "Buy my red tomatoes today", EUROPE]

    played = drive(ask_panel(TASK, preset), lambda call: drafts[call.slot - 1] if call.role == "proposer" else EUROPE)

    assert any("slot 3 was set aside" in note for note in played.answer.notes)
    assert played.answer.method["subsets"]["mode"] == "leave-one-out"
    assert len(played.calls) == 4 + 3 + 1


def closing_with(*answers: str) -> list[str]:
    return [f"Six by seven, one row at a time.\n\nThe final answer is {answer}" for answer in answers]


def test_closed_answers_are_told_apart_by_what_they_are_however_alike_the_words() -> None:
    drafts = closing_with("42", "42", "43", "**42.0**")

    played = drive(
        ask_panel(EMBEDDED, a_panel(screen={"by": "cluster"})),
        lambda call: drafts[call.slot - 1] if call.role == "proposer" else "merged",
    )

    entry = played.answer.method["screen"][0]
    assert (entry["kept"], entry["dropped"], entry["by"]) == ([1, 2, 4], [3], "answer")
    assert any("slot 3 was set aside" in note for note in played.answer.notes)
    assert all(call.role != "embedder" for call in played.calls)


def test_two_answers_of_two_drafts_each_keep_all() -> None:
    groups = split_by_answer(closing_with("42", "43", "43", "42"))

    assert groups is not None
    assert groups.tied
    assert groups.kept == (0, 1, 2, 3)


def test_drafts_that_all_answer_the_same_are_all_kept() -> None:
    groups = split_by_answer(closing_with("42", "42", "42"))

    assert groups is not None
    assert (groups.kept, groups.dropped) == ((0, 1, 2), ())


@pytest.mark.parametrize(
    "drafts",
    [
        closing_with("1", "2", "3", "4"),
        closing_with("42", "42", "43", "44"),
        closing_with("42", "42"),
        [f"It began in {year}.\n\n{EUROPE}, as any map will show whoever looks." for year in (1945, 1945, 1949)],
        [],
    ],
)
def test_open_texts_and_answers_without_a_majority_are_left_to_likeness(drafts: list[str]) -> None:
    assert split_by_answer(drafts) is None
