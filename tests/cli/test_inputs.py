"""Where the question and its background come from, and what is refused before anything is asked."""

import io
from pathlib import Path

import click
import pytest

from moa_mcp.cli.inputs import context_of, question_of
from moa_mcp.service.service import MAX_QUESTION_BYTES


class Typed(io.TextIOWrapper):
    """A stdin that holds some bytes; `terminal` tells whether a person is at it."""

    def __init__(self, content: bytes, *, terminal: bool = False) -> None:
        super().__init__(io.BytesIO(content), encoding="utf-8")
        self._terminal = terminal

    def isatty(self) -> bool:
        return self._terminal


NOBODY = Typed(b"", terminal=True)


def piped() -> Typed:
    return Typed("Whät?".encode())


@pytest.mark.parametrize("argument", [None, "-"])
def test_a_question_is_read_from_a_pipe(argument: str | None) -> None:
    assert question_of(argument, (), piped()) == "Whät?"


def test_a_question_of_its_own_leaves_stdin_to_the_context() -> None:
    stdin = piped()

    assert question_of("Why?", ("-",), stdin) == "Why?"
    assert context_of(("-",), stdin) == "Whät?"


@pytest.mark.parametrize(("argument", "contexts"), [("-", ("-",)), ("Why?", ("-", "-"))])
def test_stdin_is_read_once(argument: str, contexts: tuple[str, ...]) -> None:
    with pytest.raises(click.UsageError, match="Only one"):
        question_of(argument, contexts, piped())


def test_a_context_from_stdin_needs_a_question_in_the_arguments() -> None:
    with pytest.raises(click.UsageError, match="no question"):
        question_of(None, ("-",), piped())


def test_a_person_at_the_keyboard_is_not_left_waiting() -> None:
    with pytest.raises(click.UsageError, match="no question"):
        question_of(None, (), NOBODY)


def test_several_files_become_one_context_under_their_names(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("first", encoding="utf-8")
    (tmp_path / "b.md").write_text("\ufeffsecond", encoding="utf-8")

    context = context_of((str(tmp_path / "a.md"), str(tmp_path / "b.md")), NOBODY)

    assert context == "a.md:\n\nfirst\n\nb.md:\n\nsecond"


def test_no_files_are_no_context() -> None:
    assert context_of((), NOBODY) is None


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(click.UsageError, match=r"gone\.md cannot be read: No such file"):
        context_of((str(tmp_path / "gone.md"),), NOBODY)


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "image.png").write_bytes(b"\x89PNG")

    with pytest.raises(click.UsageError, match="not UTF-8"):
        context_of((str(tmp_path / "image.png"),), NOBODY)


def test_a_file_longer_than_a_question_may_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "long.txt").write_bytes(b"x" * (MAX_QUESTION_BYTES + 1))

    with pytest.raises(click.UsageError, match="longer than"):
        context_of((str(tmp_path / "long.txt"),), NOBODY)
