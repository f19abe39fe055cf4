"""The short list of presets: a row for each, so few bytes that no client cuts it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from typing_extensions import TypedDict  # below Python 3.12 no schema can be made of typing's own

from moa_mcp.domain.text import one_line
from moa_mcp.service.catalog import PresetEntry
from moa_mcp.views.run import pluralize

MAX_BYTES = 9_700
"""What the rows may take, as text and as JSON together: a widely used client cuts a result at ten thousand."""

TITLE_LENGTHS = (60, 40, 24, 14)
"""How many letters of a title are shown, where there is room for so many."""

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
    """The rows that fit, each also as a line of text, and how many more presets there are."""

    rows: Sequence[PresetRow]
    lines: Sequence[str]
    left_out: int


def short_list(entries: Iterable[PresetEntry]) -> ShortList:
    """The presets in short: the default one first, then the usable ones, the user's own before the packaged."""
    ordered = sorted(entries, key=lambda e: (not e.default, not e.usable, e.source != "user", e.name))
    lists = (_fitting(ordered, length) for length in TITLE_LENGTHS)
    return next((found for found in lists if not found.left_out), _fitting(ordered, TITLE_LENGTHS[-1]))


def _fitting(entries: Sequence[PresetEntry], title_length: int) -> ShortList:
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
