"""Write docs/reference/mcp.md from the descriptions that the server sends of its tools, resources and prompts.

    python -m scripts.mcp_reference [--check]

With `--check` it writes nothing, and exits with 1 if the page is out of date.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import anyio
from mcp import Client
from mcp.types import Prompt, Resource, ResourceTemplate, Tool

from moa_mcp.api import open_service
from moa_mcp.server.build import build_server

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "mcp.md"

HEAD = """\
<!-- Written by `python -m scripts.mcp_reference` from what the server says of itself. Do not edit. -->
# MCP

Three tools, resources under `moa://`, and prompts. Every tool returns the same facts twice: as text in `content`, and
as `structuredContent`. An unknown price is `null`, never 0. A failed run is a tool error (`isError`) that names each
cause.
"""

Schema = Mapping[str, Any]

MEANINGS = {
    "run_id": "The id of the run: with it alone, `moa_ask` collects it.",
    "status": "Where the run is. `running` and `interrupted` ones go on when they are collected.",
    "answer": "The answer; with `output: guidance` the drafts as notes for the caller.",
    "preset": "The name of the preset that was asked.",
    "degraded": "Whether the answer is less than the method promises: too few drafts, a fallback, a cut, a tie; "
    "`notes` say why.",
    "partial": "Whether a draft that the method called for is missing.",
    "panel": "How many slots were asked and answered; the missing drafts, each with slot, model and reason; `skewed`: "
    "they are the slower or the more expensive ones.",
    "notes": "Who was left out, cut off or replaced, and what else the reader should know.",
    "layers": "How many layers, the aggregator counted as the last one.",
    "calls": "Every call: role, layer, slot, model asked and model served, status, error, tokens, price, seconds.",
    "method": "What the method decided: who was routed to, kept, dropped or ranked, and why layers ended.",
    "calls_made": "How many calls were sent to models.",
    "input_tokens": "Tokens read by all calls; null if no provider told.",
    "output_tokens": "Tokens written by all calls; null if no provider told.",
    "cost_usd": "The price of all calls in US dollars; null as soon as one is unknown.",
    "known_cost_usd": "The sum of the prices that are known: the run cost at least this.",
    "unpriced_calls": "How many calls have no known price.",
    "seconds": "How long the run has taken.",
    "resources": "The URIs of the run and of its drafts.",
    "error": "Why a run that has no answer has none.",
    "cached": "Whether this is the stored answer to the same question.",
    "drafts": "With `drafts: full`: what each proposer wrote.",
    "presets": "The presets, each with what it needs, makes and costs.",
    "definition": "With `name`: the preset as its file says it, in YAML.",
    "applied": "Whether anything was written.",
    "diff": "What changed, or would change.",
    "revision": "The number of the newest change.",
    "scope": "For whom the change holds.",
    "written_to": "The files that were written.",
    "default_preset": "The name of the default preset.",
    "providers": "The declared providers; a key variable is set or missing, never shown.",
    "limits": "The ceilings that hold for every run.",
    "store": "Whether and for how long runs are kept.",
    "embeddings": "The model by which texts are compared; null: they are compared by their words.",
    "undoable": "How many changes `undo` can take back.",
    "config_file": "Where the configuration file is.",
    "presets_folder": "Where the user's presets are.",
    "problem": "What is wrong with the configuration file; null if nothing is.",
}
"""The meanings of the result fields. The server does not send them, because each word of a schema costs tokens."""


async def page() -> str:
    """The text of the whole page."""
    with TemporaryDirectory() as home:
        async with open_service({"MOA_MCP_HOME": home}) as service, Client(build_server(service)) as client:
            tools = (await client.list_tools()).tools
            resources = (await client.list_resources()).resources
            templates = (await client.list_resource_templates()).resource_templates
            prompts = (await client.list_prompts()).prompts
    parts = [HEAD, *map(_tool, tools), _resources(resources, templates), _prompts(prompts)]
    return "\n".join(parts)


def _tool(tool: Tool) -> str:
    lines = [f"## {tool.name}", "", f"*{tool.title}.*", "", tool.description or "", "", "**Arguments**", ""]
    lines += ["| name | type | default | what it is |", "|---|---|---|---|"]
    lines += _arguments(tool.input_schema)
    lines += ["", "**Result**", ""]
    for schema in _shapes(tool.output_schema or {}):
        lines += ["| field | type | what it is |", "|---|---|---|", *_fields(schema, tool.output_schema or {}), ""]
    return "\n".join(lines)


def _arguments(schema: Schema) -> Iterator[str]:
    for name, argument in schema.get("properties", {}).items():
        default = f"`{_literal(argument['default'])}`" if argument.get("default") is not None else ""
        required = "required" if name in schema.get("required", ()) else default
        yield f"| `{name}` | {_type(argument)} | {required} | {_cell(argument.get('description', ''))} |"


def _shapes(schema: Schema) -> Iterator[Schema]:
    """Yield the schema of each form that a result can have."""
    for form in schema.get("anyOf") or schema.get("oneOf") or [schema]:
        yield _resolve(form, schema)


def _fields(schema: Schema, root: Schema) -> Iterator[str]:
    for name, entry in schema.get("properties", {}).items():
        meaning = MEANINGS.get(name) or _resolve(entry, root).get("description", "")
        yield f"| `{name}` | {_type(entry, root)} | {_cell(meaning)} |"


def _resolve(schema: Schema, root: Schema) -> Schema:
    if "$ref" not in schema:
        return schema
    found: Any = root
    for key in schema["$ref"].removeprefix("#/").split("/"):
        found = found[key]
    return {**found, **{key: value for key, value in schema.items() if key != "$ref"}}


def _type(schema: Schema, root: Schema | None = None) -> str:
    """The type of a value in words, with its limits."""
    schema = _resolve(schema, root or {})
    if "enum" in schema or "const" in schema:
        return ", ".join(f"`{_literal(value)}`" for value in schema.get("enum", [schema.get("const")]))
    if forms := schema.get("anyOf") or schema.get("oneOf"):
        return " or ".join(dict.fromkeys(_type(form, root) for form in forms))
    words = str(schema.get("type", "any"))
    if words == "array":
        words = f"list of {_type(schema['items'], root)}" if "items" in schema else "list"
    return words + _limits(schema)


def _limits(schema: Schema) -> str:
    low = schema.get("minimum", schema.get("exclusiveMinimum"))
    high = schema.get("maximum", schema.get("exclusiveMaximum"))
    bounds = [f"from {low:,}"] if low is not None else []
    bounds += [f"to {high:,}"] if high is not None else []
    bounds += [f"at most {schema['maxLength']:,} characters"] if "maxLength" in schema else []
    bounds += [f"at most {schema['maxItems']:,}"] if "maxItems" in schema else []
    return f" ({' '.join(bounds)})" if bounds else ""


def _literal(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _resources(resources: list[Resource], templates: list[ResourceTemplate]) -> str:
    fixed = [one for one in resources if not str(one.uri).startswith("moa://presets/")]
    rows = [(str(one.uri), one.mime_type, one.description) for one in fixed]
    rows += [(one.uri_template, one.mime_type, one.description) for one in templates]
    lines = ["## Resources", "", "| URI | type | what it is |", "|---|---|---|"]
    lines += [f"| `{uri}` | {mime_type} | {_cell(description or '')} |" for uri, mime_type, description in rows]
    lines += ["", "Clients that subscribe get a notice when one changes, so drafts can be read as they finish.", ""]
    return "\n".join(lines)


def _prompts(prompts: list[Prompt]) -> str:
    lines = ["## Prompts", "", "| name | arguments | what it is |", "|---|---|---|"]
    for prompt in prompts:
        names = ", ".join(f"`{one.name}`" for one in prompt.arguments or ())
        lines.append(f"| `{prompt.name}` | {names} | {_cell(prompt.description or '')} |")
    return "\n".join([*lines, ""])


def main() -> None:
    """Write the page, or check it."""
    text = anyio.run(page)
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(text, encoding="utf-8")
    elif not PAGE.exists() or PAGE.read_text(encoding="utf-8") != text:
        sys.exit(f"{PAGE.name} is not what the server says. Write it anew: python -m scripts.mcp_reference")


if __name__ == "__main__":
    main()
