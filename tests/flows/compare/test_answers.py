"""The short final answer of a draft, and how drafts are counted by it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moa_mcp.domain.regex import compile_linear
from moa_mcp.flows.compare.answers import extract_answer, normalize_answer, tally_answers


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (r"Therefore \boxed{42}.", "42"),
        (r"First \boxed{1}, then \boxed{\frac{3}{4}}.", "0.75"),
        (r"\boxed{x^{2} + 1} is it, final answer: 7", "x^2 + 1"),
        ("So 12 of 13.\n\n**Final answer:** 1,000.0", "1000"),
        ("The final answer is (B), because 3 > 2.", "b"),
        ("Answer: Paris.\nI am sure.", "paris"),
        ("Of (A) and 7 I choose (C).", "c"),
        ("There are 12 apples and 14 pears.", "14"),
        ("It fell by 3-5 per cent.", "5"),
        ("It is -4.50 degrees", "-4.5"),
        ("Paris", "paris"),
        ("  The  Seine ", "the seine"),
        (r"\boxed{never closed", "never closed"),
    ],
)
def test_an_answer_is_found_where_answers_stand(text: str, answer: str) -> None:
    assert extract_answer(text) == answer


def test_a_text_that_comes_to_nothing_short_has_no_answer() -> None:
    assert extract_answer("It depends on many things, some of which nobody knows yet. " * 2) is None
    assert extract_answer("Two lines\nof prose") is None
    assert extract_answer("") is None


@pytest.mark.parametrize("before", ["words " * 300, "İ " * 300, "İ" * 300 + " ", "no answer yet.\n"])
@pytest.mark.parametrize("reply", ["the correct answer is Oslo", "\n   > ** Answer: Oslo"])
def test_however_much_stands_before_it_what_says_so_is_found(before: str, reply: str) -> None:
    assert extract_answer(before + reply) == "oslo"


def test_the_pattern_of_the_user_is_tried_first_and_the_usual_places_after_it() -> None:
    own = compile_linear(r"verdict: (\w+)")

    assert extract_answer(r"verdict: Guilty \boxed{7}", own) == "guilty"
    assert extract_answer(r"no verdict \boxed{7}", own) == "7"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("1,000", "1000.0"),
        ("$42", "42"),
        ("42 %", "42%"),
        ("**Yes.**", "yes"),
        ("3/4", "0.75"),
        ("(B)", "B) because"),
        (r"\text{blue}", "Blue"),
        ("-0.50", "-1/2"),
    ],
)
def test_answers_that_say_the_same_are_one(one: str, other: str) -> None:
    assert normalize_answer(one) == normalize_answer(other)


@pytest.mark.parametrize(("one", "other"), [("1,000", "1"), ("-5", "5"), ("x^2", "x^3"), ("a", "b"), ("1/0", "1")])
def test_answers_that_differ_stay_different(one: str, other: str) -> None:
    assert normalize_answer(one) != normalize_answer(other)


@given(st.text())
def test_no_text_breaks_the_extraction(text: str) -> None:
    found = extract_answer(text)

    assert found is None or found == found.strip()


@pytest.mark.parametrize("part", ["\\boxed{", "answer ", "(", "- ", "* _", "\\frac{a}{", "9" * 50, " "])
def test_no_text_takes_long_to_have_no_answer(part: str) -> None:
    assert extract_answer(part * 20_000) is None


@pytest.mark.parametrize("part", ["1,000", "\\frac{1}{"])
def test_no_text_takes_long_to_have_one(part: str) -> None:
    assert extract_answer(part * 20_000) == "1"


def test_the_most_frequent_answer_wins() -> None:
    counted = tally_answers(["7", "It is 8", "8.0", "7 or 8", "nine"])

    assert (counted.votes, counted.first, counted.tied) == ({"8": 3, "7": 1, "nine": 1}, 1, False)


def test_of_tied_answers_the_earliest_wins() -> None:
    counted = tally_answers(["b", "a", "a", "b"])

    assert (counted.first, counted.tied) == (0, True)


def test_drafts_are_open_texts_if_more_than_half_have_no_answer() -> None:
    prose = "On the one hand it may be so.\nOn the other it may not."

    assert tally_answers([prose, prose, "7"]).is_open
    assert not tally_answers([prose, "7"]).is_open
