"""The definition of a tool: its listing, its arguments, and its function."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from mcp.types import CallToolRequestParams, CallToolResult, InputRequiredResult, ToolAnnotations
from mcp.types import Tool as ListedTool

from moa_mcp.server.context import Context
from moa_mcp.server.tools.schema import Arguments, schema_of_arguments, schema_of_result
from moa_mcp.service.service import Service

Reply: TypeAlias = CallToolResult | InputRequiredResult | dict[str, Any]
"""The reply of a tool: its result, or on the newer protocol a question to the user of the client, or a task."""


@dataclass(frozen=True, slots=True)
class Invocation:
    """One call of a tool: the service, the context and the request parameters."""

    service: Service
    context: Context
    params: CallToolRequestParams

    async def report(self, value: float, total: float | None, line: str) -> None:
        """Send progress to the client. The SDK sends nothing if the client did not request progress."""
        await self.context.session.report_progress(value, total, line)


@dataclass(frozen=True, slots=True)
class Tool:
    """One tool. `run` gets an invocation and its arguments. `results` are the TypedDicts of its results."""

    name: str
    title: str
    description: str
    arguments: type[Arguments]
    results: tuple[type[Any], ...]
    hints: ToolAnnotations
    run: Callable[[Invocation, Any], Awaitable[Reply]]

    def listed(self) -> ListedTool:
        """The entry of the tool in `tools/list`."""
        return ListedTool(
            name=self.name,
            title=self.title,
            description=self.description,
            input_schema=schema_of_arguments(self.arguments),
            output_schema=schema_of_result(*self.results),
            annotations=self.hints,
        )
