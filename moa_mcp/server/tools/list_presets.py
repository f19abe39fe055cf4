"""`moa_list_presets`: which panels there are, what each is made of, costs and lacks."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, NotRequired

from mcp.types import CallToolResult, ToolAnnotations
from pydantic import Field
from typing_extensions import TypedDict  # below Python 3.12 no schema can be made of typing's own

from moa_mcp.server.tools.base import Invocation, Reply, Tool
from moa_mcp.server.tools.schema import Arguments
from moa_mcp.server.wire import tool_result
from moa_mcp.service.catalog import PresetEntry
from moa_mcp.views.run import format_cost, pluralize

DESCRIPTION = """\
List the presets (panels) that moa_ask can ask: for each the models of its proposers and its \
aggregator, its layers, how many paid calls a run makes, in how many rounds one after the other, \
about what it costs, whether it can be used now, and if not, which key variable is missing.

Use it before the first moa_ask, to choose a panel by cost or by models, or after an error about a \
preset or a key. With `name` it tells of one preset and adds its definition in YAML, a base for \
moa_configure. It calls no model, costs nothing and answers at once."""


class ListArguments(Arguments):
    """What moa_list_presets takes."""

    name: Annotated[
        str | None,
        Field(max_length=64, description="One preset, in full, with its definition. By default: all presets."),
    ] = None


class PresetList(TypedDict):
    """The presets; `definition` is the YAML of the one that was asked for."""

    presets: list[PresetEntry]
    definition: NotRequired[str]


async def list_presets(invocation: Invocation, arguments: ListArguments) -> Reply:
    """All presets, or one with its definition. Raises UnknownPreset."""
    catalog = invocation.service.catalog
    if not arguments.name:
        return _reply(await catalog.entries(), None)
    return _reply([await catalog.entry(arguments.name)], catalog.text(arguments.name))


def _reply(entries: list[PresetEntry], definition: str | None) -> CallToolResult:
    facts: dict[str, object] = {"presets": [asdict(entry) for entry in entries]}
    words = "\n\n".join(map(_described, entries))
    if definition is not None:
        facts["definition"] = definition
        words = f"{words}\n\n```yaml\n{definition.rstrip()}\n```"
    return tool_result(words, facts)


def _described(entry: PresetEntry) -> str:
    """A preset for a reader who sees text only: all that its entry tells."""
    default = ", the default" if entry.default else ""
    lines = [f"**{entry.name}** ({entry.source}{default}): {entry.title}"]
    if entry.layers is not None:
        lines += [entry.description, *_shape(entry)]
    lines.append("Usable now." if entry.usable else f"Not usable: {entry.problem}")
    if entry.missing:
        lines.append(f"Missing key variables: {', '.join(entry.missing)}.")
    return "\n".join(f"- {line}" if number else line for number, line in enumerate(filter(None, lines)))


def _shape(entry: PresetEntry) -> list[str]:
    price = format_cost(entry.estimated_cost_usd)
    calls = f"{pluralize(entry.calls, 'call')} in {pluralize(entry.serial_rounds, 'round')}"
    return [
        f"{pluralize(entry.layers, 'layer')}, {calls}, estimated {price}",
        f"Proposers: {', '.join(entry.proposers) or 'none'}",
        f"Aggregator: {entry.aggregator}",
    ]


LIST_PRESETS = Tool(
    name="moa_list_presets",
    title="List the panels",
    description=DESCRIPTION,
    arguments=ListArguments,
    results=(PresetList,),
    hints=ToolAnnotations(read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False),
    run=list_presets,
)
