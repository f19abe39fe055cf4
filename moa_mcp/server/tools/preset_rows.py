"""The short list of presets: one row each, small enough that clients do not cut it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from typing_extensions import TypedDict  # pydantic needs this one below Python 3.12

from moa_mcp.domain.text import one_line
from moa_mcp.service.catalog import PresetEntry
from moa_mcp.views.run import pluralize

MAX_BYTES = 9_700
"""The maximum size of the rows, text and JSON together: a widely used client cuts a result at 10,000."""

TITLE_LENGTHS = (60, 40, 24, 14)
"""The title lengths, in characters, to try from longest to shortest until all rows fit."""

MORE = "`detail: true` lists all of them, `moa-mcp presets` does in a terminal"


class PresetRow(TypedDict):
    """What to choose a preset by.

    `times_plain_price` is its price as a multiple of one plain call of its aggregator, `seconds` an estimate; null:
    not known.
    """

    name: str
    title: str
    usable: bool
    calls: int | None
    times_plain_price: float | None
    seconds: float | None
    default: bool


@dataclass(frozen=True, slots=True)
class ShortList:
    """The rows that fit, each also as a line of text, and the number of presets left out."""

    rows: Sequence[PresetRow]
    lines: Sequence[str]
    left_out: int


def short_list(entries: Iterable[PresetEntry]) -> ShortList:
    """The presets as a short list: the default first, then usable ones, the user's own before the packaged ones."""
    ordered = sorted(entries, key=lambda e: (not e.default, not e.usable, e.source != "user", e.name))
    lists = (_fit(ordered, length) for length in TITLE_LENGTHS)
    return next((found for found in lists if not found.left_out), _fit(ordered, TITLE_LENGTHS[-1]))


def _fit(entries: Sequence[PresetEntry], title_length: int) -> ShortList:
    rows: list[PresetRow] = []
    lines: list[str] = []
    room = MAX_BYTES
    for entry in entries:
        row = _row(entry, title_length)
        line = _line(row)
        room -= len(json.dumps(row)) + len(line.encode("utf-8", "replace")) + 3
        if room < 0:
            break
        rows.append(row)
        lines.append(line)
    return ShortList(rows, lines, len(entries) - len(rows))


def _row(entry: PresetEntry, title_length: int) -> PresetRow:
    return {
        "name": entry.name,
        "title": one_line(entry.title, title_length),
        "usable": entry.usable,
        "calls": entry.calls,
        "times_plain_price": entry.times_plain_price,
        "seconds": entry.seconds,
        "default": entry.default,
    }


def _line(row: PresetRow) -> str:
    facts = [
        row["title"],
        "broken" if row["calls"] is None else pluralize(row["calls"], "call"),
        f"{row['times_plain_price']:g}x" if row["times_plain_price"] is not None else "",
        f"{row['seconds']:g} s" if row["seconds"] is not None else "",
        "default" if row["default"] else "",
        "" if row["usable"] else "not usable",
    ]
    return f"- {row['name']}: {' · '.join(filter(None, facts))}"
