"""`moa_list_presets`: the panels, with their models, price and missing keys."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import NotRequired

from mcp.types import CallToolResult, ToolAnnotations
from pydantic import Field
from typing_extensions import TypedDict  # pydantic needs this one below Python 3.12

from moa_mcp.domain.errors import InvalidPreset
from moa_mcp.domain.text import one_line
from moa_mcp.presets.library import Source
from moa_mcp.server.tools.base import Invocation, Reply, Tool
from moa_mcp.server.tools.schema import Arguments
from moa_mcp.server.wire import tool_result
from moa_mcp.service.catalog import PresetEntry
from moa_mcp.views.run import format_cost, pluralize

DESCRIPTION = """\
List the presets (panels) that moa_ask can ask: for each how many paid calls a run makes, about how \
many times the price of one plain call of its aggregator that is, about how many seconds it takes, \
and whether it can be used now.

Use it before the first moa_ask, to choose a panel, or after an error about a preset or a key. With \
`name` it shows all of one preset: its models, layers, price, which key variable is missing, and its \
definition in YAML, a base for moa_configure. It calls no model, costs nothing and answers at once."""


MAX_BYTES = 9_700
"""The maximum size of the rows, text and JSON together: a widely used client cuts a result at 10,000."""

TITLE_LENGTHS = (60, 40, 24, 14)
"""The title lengths, in characters, to try from longest to shortest until all rows fit."""

MORE = "`detail: true` lists all of them, `moa-mcp presets` does in a terminal"


class ListArguments(Arguments):
    """The arguments of moa_list_presets."""

    name: str | None = Field(
        default=None, max_length=64, description="One preset, in full, with its definition. By default: all, in short."
    )
    detail: bool = Field(default=False, description="All presets in full: long, so better ask for one by name.")


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


class PresetFacts(PresetRow):
    """A row, and in full all that is known of the preset. `missing` are key variables."""

    description: NotRequired[str]
    source: NotRequired[Source]
    missing: NotRequired[list[str]]
    layers: NotRequired[int | None]
    proposers: NotRequired[list[str]]
    aggregator: NotRequired[str | None]
    serial_rounds: NotRequired[int | None]
    estimated_cost_usd: NotRequired[float | None]
    problem: NotRequired[str | None]


class PresetList(TypedDict):
    """The presets; `definition` is the YAML of the one that was asked for, `left_out` how many more there are."""

    presets: list[PresetFacts]
    definition: NotRequired[str]
    left_out: NotRequired[int]


async def list_presets(invocation: Invocation, arguments: ListArguments) -> Reply:
    """All presets, short or in full, or one preset with its definition. Raises UnknownPreset."""
    catalog = invocation.service.catalog
    if arguments.name:
        definition = None
        with suppress(InvalidPreset):  # the entry contains the error
            definition = catalog.text(arguments.name)
        return _full_result([await catalog.entry(arguments.name)], definition)
    entries = await catalog.entries()
    return _full_result(entries) if arguments.detail else _short_result(entries)


def _short_result(entries: list[PresetEntry]) -> CallToolResult:
    found = short_list(entries)
    facts: dict[str, object] = {"presets": found.rows}
    lines = ["Presets (5x: five times the price of one plain call of the aggregator):", *found.lines]
    if found.left_out:
        facts["left_out"] = found.left_out
        lines.append(f"{pluralize(found.left_out, 'more preset')}: {MORE}.")
    lines.append("One in full, with its models and why it is not usable: give its name.")
    return tool_result("\n".join(lines), facts)


def _full_result(entries: list[PresetEntry], definition: str | None = None) -> CallToolResult:
    facts: dict[str, object] = {"presets": [asdict(entry) for entry in entries]}
    words = "\n\n".join(map(_describe, entries))
    if definition is not None:
        facts["definition"] = definition
        words = f"{words}\n\n```yaml\n{definition.rstrip()}\n```"
    return tool_result(words, facts)


def _describe(entry: PresetEntry) -> str:
    """The whole entry as text, for clients that show only text."""
    default = ", the default" if entry.default else ""
    lines = [f"**{entry.name}** ({entry.source}{default}): {entry.title}"]
    if entry.layers is not None:
        lines += [entry.description, *_describe_shape(entry)]
    lines.append("Usable now." if entry.usable else f"Not usable: {entry.problem}")
    if entry.missing:
        lines.append(f"Missing key variables: {', '.join(entry.missing)}.")
    return "\n".join(f"- {line}" if number else line for number, line in enumerate(filter(None, lines)))


def _describe_shape(entry: PresetEntry) -> list[str]:
    price = format_cost(entry.estimated_cost_usd)
    if entry.times_plain_price is not None:
        price = f"{price}, {entry.times_plain_price:g} times one plain call of its aggregator"
    if entry.seconds is not None:
        price = f"{price}, about {entry.seconds:g} seconds"
    calls = f"{pluralize(entry.calls, 'call')} in {pluralize(entry.serial_rounds, 'round')}"
    return [
        f"{pluralize(entry.layers, 'layer')}, {calls}, estimated {price}",
        f"Proposers: {', '.join(entry.proposers) or 'none'}",
        f"Aggregator: {entry.aggregator}",
    ]


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


LIST_PRESETS = Tool(
    name="moa_list_presets",
    title="List the panels",
    description=DESCRIPTION,
    arguments=ListArguments,
    results=(PresetList,),
    hints=ToolAnnotations(read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False),
    run=list_presets,
)
