"""The answer that a draft states: found where it is stated, and nowhere else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.answers import find_labelled, installed_passages, score_finder
from moa_mcp.flows.compare.find import find_answer
from moa_mcp.flows.compare.same import same_answer
from moa_mcp.prompts.panel import CLOSING_LINE


def test_labelled_texts_of_ten_languages_are_read_as_labelled() -> None:
    score = score_finder(find_labelled())

    assert score.texts >= 400
    assert score.precision >= 0.99
    assert score.recall >= 0.95


def test_descriptions_of_packages_state_no_answer() -> None:
    passages = installed_passages(400)

    assert len(passages) == 400
    assert [text for text in passages if find_answer(text) is not None] == []


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (r"Therefore \boxed{42}.", "42"),
        (r"First \boxed{1}, then \boxed{\frac{3}{4}}.", "3/4"),
        (r"Then \boxed{\{x^{2}, \frac{1}{2}\}}", r"\{x^2, \frac12\}"),
        (r"The roots are \boxed{1} and \boxed{2}.", "1, 2"),
        (r"\boxed{x^{2} + 1} is it, final answer: 7", "7"),
        ("So 12 of 13.\n\n**Final answer:** 1,000.0", "1000"),
        ("1. **Final answer**: 5", "5"),
        ("> Final Answer:\n>\n\n17", "17"),
        ("FINAL ANSWER: the final answer is $12$. I hope it is correct.", "12"),
        ("The final answer is (B), because 3 > 2.", "B"),
        ("B is the correct answer.", "B"),
        ("$x > 5$ is the solution.", "x > 5"),
        ("Answer: Paris.\nI am sure.", "Paris"),
        ("Of (A) and 7 I choose (C).", "C"),
        ("Paris", "Paris"),
        ("  The  Seine ", "The Seine"),
        ("I say 8!", "8"),
        ("Final answer: 5!", "5!"),
        ("$a + 3z = 0$", "a + 3z = 0"),
        (r"The general solution: $\frac{x}{2} + c$.", r"\frac{x}{2} + c"),
        (r"Answer $\frac{1}{2}$", "1/2"),
        ("Solving gives 3x = 15, so x = 5.", "5"),
        ("It is 42, not 41.", "42"),
    ],
)
def test_an_answer_is_found_where_it_is_stated(text: str, answer: str) -> None:
    found = find_answer(text)

    assert found is not None
    assert same_answer(found, answer), found


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Two lines\nof prose",
        "It depends on many things, some of which nobody knows yet. " * 2,
        "It fell by 3-5 per cent.",
        "There are 12 apples and 14 pears.",
        "About gardening:\n\n1. soil\n2. water\n3. light",
        "The force (F) and the mass (M) are measured in units that differ from country to country.",
        "```python\nanswer = 42\nprint('Final answer: 42')\n```",
        "It has been so since the year 2021.",
        "The answer is returned as a list of the 5 nearest points.",
        "Two answers are possible, and which one is right depends on the temperature, which we do not know.",
        CLOSING_LINE,
        f"I was asked: {CLOSING_LINE}",
        "I will end with `Final answer: <answer>`.",
        "Final answer: [your answer here]",
    ],
)
def test_what_states_no_answer_has_none(text: str) -> None:
    assert find_answer(text) is None


def test_the_last_closing_line_counts() -> None:
    assert find_answer("Final answer: 3\n\nNo, wait.\n\nFinal answer: 4") == "4"


def test_with_the_question_a_sentence_that_repeats_it_states_the_rest() -> None:
    question = "What is the capital of France?"
    wordings = ("The capital of France is Paris.", "Paris is the capital of France.", "It's Paris.")

    assert {find_answer(text, question) for text in wordings} == {"Paris"}
    assert find_answer("Paris is not the capital of France.", question) is None
    assert find_answer("Paris is the capital of France.") is None


@pytest.mark.parametrize("before", ["words " * 300, "İ " * 300, "İ" * 300 + " ", "no answer yet.\n"])
@pytest.mark.parametrize("reply", ["the correct answer is Oslo", "\n   > ** Answer: Oslo"])
def test_whatever_precedes_it_a_stated_answer_is_found(before: str, reply: str) -> None:
    assert find_answer(before + reply) == "Oslo"


@given(st.text())
def test_no_text_breaks_the_finder(text: str) -> None:
    found = find_answer(text)

    assert found is None or (found == found.strip() and found)


@pytest.mark.parametrize("part", ["\\boxed{", "answer ", "(", "- ", "* _", "\\frac{a}{", "9" * 50, " "])
def test_no_text_takes_long_to_have_no_answer(part: str) -> None:
    assert find_answer(part * 20_000) is None
