"""`moa_configure`: show the settings, and change presets and the default preset."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mcp.types import CallToolResult, ToolAnnotations

from moa_mcp.server.tools.base import Invocation, Reply, Tool
from moa_mcp.server.tools.configure_arguments import ConfigureArguments
from moa_mcp.server.tools.confirm import confirm
from moa_mcp.server.wire import tool_result
from moa_mcp.service.configure.editor import SCOPE, Change, ChangeRequest, ChangeResult, CurrentSettings, ProviderFacts

MAX_DIFF_CHARS = 4_000
"""The maximum length, in characters, of the diff in the question to the user."""

DESCRIPTION = """\
Show or change which panels moa_ask can ask. Without arguments: the current settings, the ceilings, \
and per provider whether its key variable is set or missing (never a key).

Use it to save a panel of your own (`save_preset` with `base` and `fields`: what to change, such as \
`proposers`, `aggregator`, `layers`), to delete one, to set the default, or to `undo` the last change. \
Not for a single question: moa_ask takes a preset, a price and a deadline of its own.

Changes are for good and for every client of this user. They can only combine models of declared \
providers and only lower limits; addresses, keys and ceilings are set by a person in config.yaml. \
Where the client can, the person is asked to confirm. `dry_run` checks a change and shows its diff \
without writing. `revision`, from an earlier result, refuses the change if anything was changed since.

Result: the diff, the new revision, for whom it holds, and which files were written."""


async def configure(invocation: Invocation, arguments: ConfigureArguments) -> Reply:
    """Show the settings, or make a change. If the client supports it, the user must confirm the change first.

    Raises:
        MoAError: the change cannot be made, or the user did not confirm it.
    """
    service = invocation.service
    if arguments == ConfigureArguments():
        settings = service.editor.current()
        return tool_result(_settings_in_words(settings), settings)
    given: dict[str, Any] = {**dict(arguments), "fields": arguments.fields or {}}
    request = ChangeRequest(**given)
    change = await service.propose(request)
    if request.dry_run:
        return _change_result(service.editor.preview(change))
    if question := await confirm(invocation, _question(change)):
        return question
    return _change_result(await service.apply(change))


def _question(change: Change) -> str:
    diff = change.diff if len(change.diff) <= MAX_DIFF_CHARS else f"{change.diff[:MAX_DIFF_CHARS]}\n… (cut)"
    return f"Change the settings of moa-mcp like this?\n\n{diff}\n\nIt holds for {SCOPE}. It can be undone."


def _change_result(result: ChangeResult) -> CallToolResult:
    head = "Done." if result["applied"] else "A dry run: nothing was written."
    lines = [f"Revision {result['revision']}", f"For {result['scope']}", f"Files: {', '.join(result['written_to'])}"]
    return tool_result("\n- ".join([f"{head}\n\n```diff\n{result['diff']}\n```\n", *lines]), result)


def _settings_in_words(settings: CurrentSettings) -> str:
    lines = [
        f"Default preset: {settings['default_preset']}",
        f"Revision {settings['revision']}, {settings['undoable']} changes can be undone",
        *(
            f"Provider {p['name']} ({p['dialect']}, {p['base_url'] or 'no address'}, at most "
            f"{p['max_concurrency']} calls at once): {_key(p)}"
            for p in settings["providers"]
        ),
        f"Ceilings: {_format_values(settings['limits'])}",
        f"Store: {_format_values(settings['store'])}",
        f"Embeddings: {settings['embeddings'] or 'none, similarity is lexical'}",
        f"Files: {settings['config_file']}, {settings['presets_folder']}",
    ]
    if settings["problem"]:
        lines.append(f"Problem: {settings['problem']}")
    return "\n".join(f"- {line}" for line in lines)


def _key(provider: ProviderFacts) -> str:
    if provider["key"] == "not needed":
        return "no key needed"
    return f"key variable {provider['api_key_env'] or 'of its headers'} is {provider['key']}"


def _format_values(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())


CONFIGURE = Tool(
    name="moa_configure",
    title="Show or change the panels",
    description=DESCRIPTION,
    arguments=ConfigureArguments,
    results=(ChangeResult, CurrentSettings),
    hints=ToolAnnotations(read_only_hint=False, destructive_hint=False, idempotent_hint=True, open_world_hint=False),
    run=configure,
)
