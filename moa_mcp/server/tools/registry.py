"""Lists and calls the three tools, and turns their errors into results that a model can read."""

from __future__ import annotations

from functools import cached_property

from mcp.shared.exceptions import MCPError
from mcp.types import INVALID_PARAMS, CallToolRequestParams, ListToolsResult, PaginatedRequestParams

from moa_mcp.server.context import Context
from moa_mcp.server.errors import error_result
from moa_mcp.server.tools.ask import ASK
from moa_mcp.server.tools.base import Invocation, Reply
from moa_mcp.server.tools.configure import CONFIGURE
from moa_mcp.server.tools.list_presets import LIST_PRESETS
from moa_mcp.server.tools.schema import read
from moa_mcp.service.service import Service

TOOLS = {tool.name: tool for tool in (ASK, LIST_PRESETS, CONFIGURE)}


class Tools:
    """Serves the tools over one service."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def list(self, context: Context, params: PaginatedRequestParams | None) -> ListToolsResult:
        """All tools, the same for every client."""
        return self._listed

    async def call(self, context: Context, params: CallToolRequestParams) -> Reply:
        """Call a tool by its name. An unknown name is a JSON-RPC error."""
        tool = TOOLS.get(params.name)
        if tool is None:
            raise MCPError(INVALID_PARAMS, f"There is no tool {params.name!r}. Known: {', '.join(TOOLS)}.")
        try:
            arguments = read(tool.arguments, params.arguments or {})
            return await tool.run(Invocation(self._service, context, params), arguments)
        except MCPError:
            raise
        except Exception as error:
            return error_result(error, tool.name)

    @cached_property
    def _listed(self) -> ListToolsResult:
        return ListToolsResult(tools=[tool.listed() for tool in TOOLS.values()])
