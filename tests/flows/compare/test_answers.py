"""How drafts are counted by the answers that they state."""

import json
from pathlib import Path

import pytest

from moa_mcp.domain.regex import compile_linear
from moa_mcp.flows.compare.answers import tally_answers


def test_the_most_frequent_answer_wins() -> None:
    counted = tally_answers(["7", "It is 8.", "8.0", "7 or 8", "nine", "The result is 8."])

    assert (counted.votes["8"], counted.first, counted.tied) == (3, 1, False)


def test_of_tied_answers_the_earliest_wins() -> None:
    counted = tally_answers(["b", "a", "a", "b"])

    assert (counted.first, counted.tied) == (0, True)


def test_drafts_are_open_texts_if_more_than_half_state_no_answer() -> None:
    prose = "On the one hand it may be so.\nOn the other it may not."

    assert tally_answers([prose, prose, "7"]).is_open
    assert not tally_answers([prose, "7"]).is_open


def test_the_users_own_pattern_comes_first_and_the_usual_forms_after_it() -> None:
    own = compile_linear(r"verdict: (\w+)")

    assert tally_answers([r"verdict: Guilty \boxed{7}", r"no verdict \boxed{7}"], "", own).answers == ("guilty", "7")


def test_an_answer_joins_a_group_only_if_it_is_the_same_as_each_in_it() -> None:
    assert tally_answers(["12 apples", "12", "12 pears"]).groups == ((0, 1), (2,))


@pytest.mark.parametrize(
    ("votes", "winner", "count"),
    [
        ({"The solution is x = 5.": 3, "The solution is x = −5.": 7}, "−5", 7),
        ({"Of 3 options 2 fail. The answer is A.": 3, "Of 3 options 2 fail. The answer is B.": 7}, "B.", 7),
        ({"The force (F) is 13 N.": 3, "The force (F) is 12 N.": 7}, "12 N", 7),
        ({"No. It applies from day 30.": 1, "Yes. It applies from day 30.": 9}, "Yes", 9),
        (
            {r"\boxed{60\%}": 4, r"\boxed{50\%}": 2, r"\boxed{50%}": 1}
            | {r"\boxed{\frac{1}{2}}": 1, r"\boxed{0.5}": 1, r"\boxed{\frac12}": 1},
            "50",
            6,
        ),
        ({r"\boxed{6 cm}": 4, r"\boxed{5\,\text{cm}}": 2, r"\boxed{5~cm}": 2, r"\boxed{5\ \mathrm{cm}}": 2}, "5", 6),
    ],
)
def test_a_minority_in_other_spellings_never_wins(votes: dict[str, int], winner: str, count: int) -> None:
    texts = [text for text, times in votes.items() for _ in range(times)]

    counted = tally_answers(texts)

    assert winner in texts[counted.first]
    assert len(counted.groups[0]) == count


def test_a_year_in_prose_is_no_vote() -> None:
    texts = [
        "It depends: first check the supply, then the cable, in 2021 they changed the norm.",
        "Check the cable first; since 2021 the norm asks for it.",
    ]

    assert tally_answers(texts).answers == (None, None)


def test_the_labelled_texts_are_of_eleven_languages_and_six_kinds() -> None:
    lines = Path("tests/data/answers.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]

    assert len({row["text"] for row in rows}) == len(rows)
    assert len({row["language"] for row in rows}) == 11
    assert {row["kind"] for row in rows} == {"maths", "code", "choice", "yes/no", "names", "prose"}
