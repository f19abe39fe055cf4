"""A tool as the server sees it: what is told of it, what it takes, and what it does."""

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
"""What a tool answers: its result, or on the newer protocol a question to the person at the client, or a task."""


@dataclass(frozen=True, slots=True)
class Invocation:
    """One call of a tool: for whom, and what came with it besides the arguments."""

    service: Service
    context: Context
    params: CallToolRequestParams

    async def report(self, value: float, total: float | None, line: str) -> None:
        """Tell the client how far the call is; the SDK sends nothing to a client that did not ask for it."""
        await self.context.session.report_progress(value, total, line)


@dataclass(frozen=True, slots=True)
class Tool:
    """One tool. `run` is given an invocation and its arguments; `results` are the shapes of its answers."""

    name: str
    title: str
    description: str
    arguments: type[Arguments]
    results: tuple[type[Any], ...]
    hints: ToolAnnotations
    run: Callable[[Invocation, Any], Awaitable[Reply]]

    def listed(self) -> ListedTool:
        """What clients are told of the tool."""
        return ListedTool(
            name=self.name,
            title=self.title,
            description=self.description,
            input_schema=schema_of_arguments(self.arguments),
            output_schema=schema_of_result(*self.results),
            annotations=self.hints,
        )
