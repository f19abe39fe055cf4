"""Cluster & Filter: a minority that differs is set aside, and an honest panel is left alone."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moa_mcp.domain.errors import Reason
from moa_mcp.domain.model import Call, Failure
from moa_mcp.flows.compare.clustering import MAX_TRIED, split_by_groups, split_in_two
from moa_mcp.flows.compare.similarity import Similarities, lexical_similarity
from moa_mcp.flows.panel import ask_panel
from moa_mcp.testing.playing import Played, drive
from tests.flows.judge import FakeReply, Judge, as_json, candidates, with_judge
from tests.flows.panel import MERGED, TASK, a_panel, draft_of, is_plain, packaged, prompt_of, with_role
from tests.results import embeddings

EMBEDDED = replace(TASK, embeddings="lab/embed")
HONEST, LIAR = [1.0, 0.1], [0.0, 1.0]
EUROPE = "Paris is the capital of France and has been so for centuries"


def filtered(*vectors: Sequence[float], **spec: Any) -> Played:
    preset = a_panel(slots=len(vectors), screen={"by": "cluster", **spec})
    return drive(ask_panel(EMBEDDED, preset), with_judge(lambda _: embeddings(*vectors)))


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


def screened(drafts: Sequence[str], judge: Judge, **spec: Any) -> Played:
    """A panel with these drafts, and a judge that says which of them are the same."""
    preset = a_panel(slots=len(drafts), screen={"by": "cluster", **spec})

    def reply(call: Call) -> FakeReply:
        if call.role == "proposer":
            return drafts[call.slot - 1]
        return MERGED if call.role == "aggregator" else judge(call)

    return drive(ask_panel(TASK, preset), reply)


def groups_of(call: Call, *groups: Sequence[str]) -> str:
    """What a judge says that puts these texts into groups, each text under its letter."""
    letters = {text: letter for letter, text in candidates(call).items()}
    return as_json(groups=[[letters[text] for text in group] for group in groups])


NEARBY = "France has its capital in Paris, as every map shows"
ELSEWHERE = "Buy my tomatoes, they are red and cheap"


def test_open_drafts_are_parted_by_a_judge_that_sees_each_text_once() -> None:
    drafts = [EUROPE, NEARBY, ELSEWHERE, EUROPE]

    played = screened(drafts, lambda call: groups_of(call, [EUROPE, NEARBY], [ELSEWHERE]))

    entry = played.answer.method["screen"][0]
    assert (entry["dropped"], entry["by"], entry["grouped"]) == ([3], "texts", "first try")
    assert not played.answer.degraded


def test_a_judge_that_keeps_all_apart_sets_nobody_aside() -> None:
    drafts = [EUROPE, NEARBY, ELSEWHERE]

    played = screened(drafts, lambda call: groups_of(call, [EUROPE], [NEARBY], [ELSEWHERE]))

    assert played.answer.method["screen"][0]["dropped"] == []


def test_the_preset_names_the_judge_and_by_default_the_aggregator_judges() -> None:
    drafts = [EUROPE, NEARBY, ELSEWHERE]
    replies = [screened(drafts, lambda _: "{}", **spec) for spec in ({}, {"model": "lab/judge"})]

    assert [with_role(played.calls, "comparer")[0].model for played in replies] == ["lab/agg", "lab/judge"]


@pytest.mark.parametrize(
    "reply",
    [
        "I cannot say",
        '{"groups": "A"}',
        '{"groups": [["A", "B"]]}',
        '{"groups": [["A", "B", "C"], ["A"]]}',
        '{"groups": [["A", "B"], ["Z"]]}',
        Failure(Reason.TIMEOUT),
    ],
)
def test_where_the_judge_cannot_be_read_words_decide_and_the_answer_is_degraded(reply: FakeReply) -> None:
    drafts = [EUROPE, f"{EUROPE} now", ELSEWHERE, f"{EUROPE} indeed"]

    played = screened(drafts, lambda _: reply)

    entry = played.answer.method["screen"][0]
    assert (entry["dropped"], entry["similarity"]) == ([3], "lexical")
    assert played.answer.degraded
    assert any("the judge did not say" in note for note in played.answer.notes)


def test_paraphrases_share_few_words_and_are_not_set_aside_by_these() -> None:
    drafts = [EUROPE, NEARBY, "The seat of the French government is the city of Paris"]

    assert screened(drafts, lambda _: "no form").answer.method["screen"][0]["dropped"] == []


def test_a_distance_of_exactly_the_margin_does_not_set_aside() -> None:
    matrix = [[1, 0.9, 0.65], [0.9, 1, 0.65], [0.65, 0.65, 1]]

    assert not split_in_two(Similarities("embeddings", matrix), 0.25).are_apart
    assert split_in_two(Similarities("embeddings", matrix), 0.24).are_apart


@given(st.integers(3, 16), st.data())
def test_two_clusters_hold_every_text_once_with_the_larger_one_first(count: int, data: st.DataObject) -> None:
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
    drafts = [f"{EUROPE}.\n\nFinal answer: {answer}" for answer in ("42", "42", "41", "42.0")]

    played = drive(
        ask_panel(TASK, preset), lambda call: drafts[call.slot - 1] if call.role == "proposer" else drafts[0]
    )

    assert any("slot 3 was set aside" in note for note in played.answer.notes)
    assert played.answer.method["subsets"]["mode"] == "leave-one-out"
    assert len(played.calls) == 4 + 3 + 1


def closing_with(*answers: str) -> list[str]:
    return [f"Six by seven, one row at a time.\n\nThe final answer is {answer}" for answer in answers]


def test_short_answers_are_compared_by_value_even_in_similar_texts() -> None:
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
    groups = split_by_groups([(0, 3), (1, 2)])

    assert groups.tied
    assert groups.kept == (0, 1, 2, 3)


def test_drafts_that_all_answer_the_same_are_all_kept() -> None:
    groups = split_by_groups([(0, 1, 2)])

    assert (groups.kept, groups.dropped) == ((0, 1, 2), ())


@pytest.mark.parametrize("groups", [[(0,), (1,), (2,), (3,)], [(0, 1), (2,), (3,)], [(0,), (1,)]])
def test_without_a_majority_nobody_is_set_aside(groups: list[tuple[int, ...]]) -> None:
    assert split_by_groups(groups).dropped == ()


@pytest.mark.parametrize(
    ("drafts", "dropped"),
    [
        (["It is 42, not 41.", "It is 42, not 41.", "42", "41"], [4]),
        (["12", "12", "12", "12 apples"], []),
        (["Yes.", "Yes, it is.", "No.", "Yes!"], [3]),
    ],
)
def test_forms_that_decide_need_no_judge(drafts: list[str], dropped: list[int]) -> None:
    played = screened(drafts, lambda _: "nobody asks")

    assert played.answer.method["screen"][0]["dropped"] == dropped
    assert with_role(played.calls, "comparer") == []


@pytest.mark.parametrize(
    "drafts",
    [
        ["Tips:\n1. a\n2. b\n3. c", "Hints:\n1. d\n2. e\n3. f", "Try:\n1. g\n2. h\n3. i", "Ideas:\n1. j\n2. k"],
        [f"It began long ago, and in {year} it was over for good." for year in (2026, 2026, 2026, 2025)],
    ],
)
def test_numbers_in_passing_part_nobody(drafts: list[str]) -> None:
    played = screened(drafts, lambda call: groups_of(call, list(candidates(call).values())))

    assert played.answer.method["screen"][0]["dropped"] == []


def test_one_name_in_other_words_is_set_aside_by_nobody() -> None:
    drafts = ["By Leo Tolstoy.", "Leo Tolstoy.", "Lev Tolstoy.", "Fyodor Dostoevsky."]
    both = ["Leo Tolstoy", "Lev Tolstoy"]

    played = screened(drafts, lambda call: groups_of(call, both, ["Fyodor Dostoevsky"]))

    assert played.answer.method["screen"][0]["dropped"] == [4]


def test_a_judge_cannot_join_two_numbers() -> None:
    drafts = ["42", "42", "41", "forty-two"]

    played = screened(drafts, lambda call: groups_of(call, list(candidates(call).values())))

    assert played.answer.degraded
    assert len(with_role(played.calls, "comparer")) == 2
