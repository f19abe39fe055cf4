"""Aligns rows of text in columns and wraps long texts, as plain text for terminals, pipes and reports."""

from __future__ import annotations

from collections.abc import Sequence
from shutil import get_terminal_size
from textwrap import wrap

from moa_mcp.domain.text import strip_invisible

MIN_WIDTH = 40


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """One line for each row, with aligned columns. The last column is not padded."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    widths[-1:] = [0]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def wrapped(text: str, indent: str = "") -> list[str]:
    """A text in lines as long as the terminal is wide, each with `indent`. No word is cut: ids and paths are words."""
    return wrap(
        strip_invisible(text),
        max(MIN_WIDTH, get_terminal_size().columns),
        initial_indent=indent,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
