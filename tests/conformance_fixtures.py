"""What the official conformance suite expects of a server besides its own tools: named tools, resources and prompts.

Names and texts are the suite's. Those that ask the client something are in `conformance_questions.py`.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import anyio
from mcp.shared.exceptions import MCPError
from mcp.shared.subscriptions import PromptsListChanged, ToolsListChanged
from mcp.types import (
    INVALID_PARAMS,
    AudioContent,
    BlobResourceContents,
    CallToolResult,
    ClientCapabilities,
    EmbeddedResource,
    GetPromptResult,
    ImageContent,
    LoggingMessageNotification,
    LoggingMessageNotificationParams,
    Prompt,
    PromptArgument,
    PromptMessage,
    ReadResourceResult,
    Resource,
    ResourceTemplate,
    SamplingCapability,
    TextContent,
    TextResourceContents,
    Tool,
)
from mcp.types.jsonrpc import MISSING_REQUIRED_CLIENT_CAPABILITY
from mcp.types.version import is_version_at_least

from moa_mcp.server.build import MoAServer
from moa_mcp.server.context import Context

# One white pixel, and an empty sound.
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGP4DwABAQEAGrUrZwAAAABJRU5ErkJggg=="
WAV = "UklGRiQAAABXQVZFZm10IBAAAAABAAEAQB8AAIA+AAACABAAZGF0YQAAAAA="

NOTHING: dict[str, Any] = {"type": "object", "properties": {}}

Run: TypeAlias = Callable[[MoAServer, Context, Any], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Fixture:
    """A tool of the suite: its arguments, and what it does with the context and the parameters of a call."""

    run: Run
    schema: dict[str, Any] = field(default_factory=lambda: NOTHING)

    def listed(self, name: str) -> Tool:
        return Tool(name=name, description="A tool of the conformance suite.", input_schema=self.schema)


def says(*blocks: Any) -> Run:
    """A tool that always returns the same content."""

    async def run(server: MoAServer, context: Context, params: Any) -> CallToolResult:
        return CallToolResult(content=list(blocks))

    return run


def text_result(text: str) -> CallToolResult:
    return CallToolResult(content=[TextContent(text=text)])


def embedded(uri: str, kind: str, text: str) -> EmbeddedResource:
    return EmbeddedResource(resource=TextResourceContents(uri=uri, mime_type=kind, text=text))


async def _fails(server: MoAServer, context: Context, params: Any) -> CallToolResult:
    text = "This tool intentionally returns an error for testing"
    return CallToolResult(content=[TextContent(text=text)], is_error=True)


async def _logs(server: MoAServer, context: Context, params: Any) -> CallToolResult:
    for text in ("Tool execution started", "Tool processing data", "Tool execution completed"):
        await log(context, text)
        await anyio.sleep(0.05)
    return text_result("Three messages were logged.")


async def log(context: Context, text: str) -> None:
    """Send a log message along with the call, as the suite wants it in the older era; in the newer nobody asked."""
    if is_version_at_least(context.protocol_version, "2026-07-28"):
        return
    notice = LoggingMessageNotification(params=LoggingMessageNotificationParams(level="info", data=text))
    await context.session.send_notification(notice, related_request_id=context.request_id)


async def _reports(server: MoAServer, context: Context, params: Any) -> CallToolResult:
    for progress in (0, 50, 100):
        await context.session.report_progress(progress, 100)
        await anyio.sleep(0.05)
    return text_result("Progress was reported three times.")


async def _reconnects(server: MoAServer, context: Context, params: Any) -> CallToolResult:
    await log(context, "Before the stream is closed")
    if context.close_sse_stream is not None:
        await context.close_sse_stream()
    await anyio.sleep(0.2)
    await log(context, "After the stream was closed")
    return text_result("The stream was closed meanwhile.")


async def _needs_sampling(server: MoAServer, context: Context, params: Any) -> CallToolResult:
    needed = ClientCapabilities(sampling=SamplingCapability())
    if not context.session.check_client_capability(needed):
        data: dict[str, Any] = {"requiredCapabilities": {"sampling": {}}}
        raise MCPError(MISSING_REQUIRED_CLIENT_CAPABILITY, "The client does not declare sampling.", data)
    return text_result("The client declares sampling.")


async def _changes_tools(server: MoAServer, context: Context, params: Any) -> CallToolResult:
    server.updates.notify_all(ToolsListChanged())
    return text_result("The tools changed.")


async def _changes_prompts(server: MoAServer, context: Context, params: Any) -> CallToolResult:
    server.updates.notify_all(PromptsListChanged())
    return text_result("The prompts changed.")


SCHEMA_2020_12 = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "$defs": {
        "address": {
            "$anchor": "addressDef",
            "type": "object",
            "properties": {"street": {"type": "string"}, "city": {"type": "string"}},
        }
    },
    "properties": {
        "name": {"type": "string"},
        "address": {"$ref": "#/$defs/address"},
        "contactMethod": {"type": "string", "enum": ["phone", "email"]},
        "phone": {"type": "string"},
        "email": {"type": "string"},
    },
    "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
    "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
    "then": {"required": ["phone"]},
    "else": {"required": ["email"]},
    "additionalProperties": False,
}
IN_A_HEADER = {"type": "object", "properties": {"region": {"type": "string", "x-mcp-header": "Region"}}}

TOOLS = {
    "test_simple_text": Fixture(says(TextContent(text="This is a simple text response for testing."))),
    "test_image_content": Fixture(says(ImageContent(data=PNG, mime_type="image/png"))),
    "test_audio_content": Fixture(says(AudioContent(data=WAV, mime_type="audio/wav"))),
    "test_embedded_resource": Fixture(
        says(embedded("test://embedded-resource", "text/plain", "This is an embedded resource content."))
    ),
    "test_multiple_content_types": Fixture(
        says(
            TextContent(text="Multiple content types test:"),
            ImageContent(data=PNG, mime_type="image/png"),
            embedded("test://mixed-content-resource", "application/json", '{"test":"data","value":123}'),
        )
    ),
    "test_error_handling": Fixture(_fails),
    "test_tool_with_logging": Fixture(_logs),
    "test_logging_tool": Fixture(_logs),
    "test_tool_with_progress": Fixture(_reports),
    "test_reconnection": Fixture(_reconnects),
    "test_missing_capability": Fixture(_needs_sampling),
    "test_trigger_tool_change": Fixture(_changes_tools),
    "test_trigger_prompt_change": Fixture(_changes_prompts),
    "json_schema_2020_12_tool": Fixture(says(TextContent(text="ok")), SCHEMA_2020_12),
    "test_custom_headers": Fixture(says(TextContent(text="ok")), IN_A_HEADER),
}

RESOURCES = [
    Resource(uri="test://static-text", name="static-text", mime_type="text/plain"),
    Resource(uri="test://static-binary", name="static-binary", mime_type="image/png"),
    Resource(uri="test://watched-resource", name="watched-resource", mime_type="text/plain"),
]
TEMPLATES = [
    ResourceTemplate(uri_template="test://template/{id}/data", name="template", mime_type="application/json"),
]


def read(uri: str) -> ReadResourceResult:
    """A resource of the suite. Raises MCPError if it is none."""
    if uri == "test://static-binary":
        return ReadResourceResult(contents=[BlobResourceContents(uri=uri, mime_type="image/png", blob=PNG)])
    if uri.startswith("test://template/") and uri.endswith("/data"):
        number = uri.removeprefix("test://template/").removesuffix("/data")
        facts = {"id": number, "templateTest": True, "data": f"Data for ID: {number}"}
        return _text(uri, "application/json", json.dumps(facts))
    if uri in {"test://static-text", "test://watched-resource"}:
        return _text(uri, "text/plain", "This is the content of the static text resource.")
    raise MCPError(INVALID_PARAMS, "There is no such resource.", {"uri": uri})


def _text(uri: str, kind: str, text: str) -> ReadResourceResult:
    return ReadResourceResult(contents=[TextResourceContents(uri=uri, mime_type=kind, text=text)])


def _prompt(name: str, *arguments: str) -> Prompt:
    wanted = [PromptArgument(name=name, description="An argument.", required=True) for name in arguments]
    return Prompt(name=name, description="A prompt of the conformance suite.", arguments=wanted)


PROMPTS = [
    _prompt("test_simple_prompt"),
    _prompt("test_prompt_with_arguments", "arg1", "arg2"),
    _prompt("test_prompt_with_embedded_resource", "resourceUri"),
    _prompt("test_prompt_with_image"),
]


def prompt(name: str, given: dict[str, str]) -> GetPromptResult:
    """A prompt of the suite, written out."""
    content: list[Any]
    if name == "test_simple_prompt":
        content = [TextContent(text="This is a simple prompt for testing.")]
    elif name == "test_prompt_with_arguments":
        content = [TextContent(text=f"Prompt with arguments: arg1='{given['arg1']}', arg2='{given['arg2']}'")]
    elif name == "test_prompt_with_embedded_resource":
        resource = embedded(given["resourceUri"], "text/plain", "Embedded resource content for testing.")
        content = [resource, TextContent(text="Please process the embedded resource above.")]
    else:
        image = ImageContent(data=PNG, mime_type="image/png")
        content = [image, TextContent(text="Please analyze the image above.")]
    return GetPromptResult(messages=[PromptMessage(role="user", content=block) for block in content])
