"""A program is cut into its statements, pseudo-code included."""

import pytest

from moa_mcp.domain.statements import assigned_names, constant_values, split_statements


@pytest.mark.parametrize(
    ("program", "parts"),
    [
        ("a = 1; b = 2\nanswer = a + b", ["a = 1", "b = 2", "answer = a + b"]),
        ("if a:\n    b = 1\nelse:\n    b = 2\nanswer = b", ["if a:\n    b = 1\nelse:\n    b = 2", "answer = b"]),
        ("a = 1\n\nask a friend for n\n\nanswer = n", ["a = 1\n", "ask a friend for n\n", "answer = n"]),
        (
            "if a:\n  b = 1\nelse:\n  b = 2\nn gets some value\nx = [\n  1,\n]",
            ["if a:\n  b = 1\nelse:\n  b = 2", "n gets some value", "x = [\n  1,\n]"],
        ),
        ("", []),
    ],
)
def test_what_is_no_python_stands_alone_between_the_statements_around_it(program: str, parts: list[str]) -> None:
    assert split_statements(program) == parts


@pytest.mark.parametrize("program", ["def (", "for each word: count it", "go to the shop\nbuy some milk\nx = 1", "\0"])
def test_what_is_less_than_half_python_is_no_program(program: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        split_statements(program)


@pytest.mark.parametrize(
    ("statement", "names"),
    [
        ("a, b = 1, 2", ["a", "b"]),
        ("for x in y:\n    n += x", ["x", "n"]),
        ("n = the number of words", ["n"]),
        ("total <- the sum, if n == 2", ["total"]),
    ],
)
def test_the_names_that_a_statement_sets_are_found(statement: str, names: list[str]) -> None:
    assert sorted(assigned_names(statement)) == sorted(names)


@pytest.mark.parametrize(
    ("statement", "sets"),
    [
        ("words = ['a', -1.5, {'b': None}]", {"words": ["a", -1.5, {"b": None}]}),
        ("n = len('a')", None),
        ("a, b = 1, 2", None),
        ("n += 1", None),
        ("no python at all", None),
    ],
)
def test_plain_values_are_read_without_running_anything(statement: str, sets: dict[str, object] | None) -> None:
    assert constant_values(statement) == sets
