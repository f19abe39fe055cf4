"""Rows of text in columns: plain, so that it reads the same on a terminal, in a pipe and in a report."""

from __future__ import annotations

from collections.abc import Sequence


def table(rows: Sequence[Sequence[str]], gap: str = "  ") -> list[str]:
    """Lines with the cells of each column under one another; the last column is as wide as it is."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    widths[-1:] = [0]
    return [gap.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
