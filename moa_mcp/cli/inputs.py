"""Reads the question and its context from arguments, files and stdin."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, TextIO

import click

from moa_mcp.service.service import MAX_QUESTION_BYTES

STDIN = "-"


def question_of(argument: str | None, contexts: Sequence[str], stdin: TextIO) -> str:
    """The question: the argument, or the text on stdin if the argument is `-` or missing.

    Raises:
        click.UsageError: there is no question, or stdin would have to be read twice.
    """
    from_stdin = [source for source in (argument or STDIN, *contexts) if source == STDIN]
    if argument is None and (STDIN in contexts or stdin.isatty()):
        raise click.UsageError("There is no question. Give it in quotes, or pipe it in.")
    if len(from_stdin) > 1:
        raise click.UsageError("Only one of question and context can be read from stdin.")
    return _text(STDIN, stdin) if argument is None or argument == STDIN else argument


def context_of(files: Sequence[str], stdin: TextIO) -> str | None:
    """The texts of all files, each below its file name; None if there are no files. Raises click.UsageError."""
    texts = [(file, _text(file, stdin)) for file in files]
    parts = (text if file == STDIN else f"{Path(file).name}:\n\n{text}" for file, text in texts)
    return "\n\n".join(parts) or None


def _text(source: str, stdin: TextIO) -> str:
    name = "stdin" if source == STDIN else source
    try:
        content = _content(source, stdin)
    except OSError as error:
        raise click.UsageError(f"{name} cannot be read: {error.strerror}.") from None
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise click.UsageError(f"{name} is not UTF-8 text.") from None


def _content(source: str, stdin: TextIO) -> bytes:
    if source == STDIN:
        return _read_all(stdin.buffer, "stdin")
    with Path(source).open("rb") as file:
        return _read_all(file, source)


def _read_all(stream: BinaryIO, name: str) -> bytes:
    """Read a whole stream. Raises click.UsageError: it is longer than a question may be, for example endless."""
    content = stream.read(MAX_QUESTION_BYTES + 1)
    if len(content) > MAX_QUESTION_BYTES:
        raise click.UsageError(f"{name} is longer than {MAX_QUESTION_BYTES:,} bytes. Ask about a part of it.")
    return content
