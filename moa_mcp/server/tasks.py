"""The tasks extension (SEP-2663): a run as a task, only for clients of 2026-07-28 that declare the extension.

A task is a view of a run and has no state of its own, so `moa_ask` can also collect the same run.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from mcp.server import Server
from mcp.server.context import HandlerResult
from mcp.shared.exceptions import MCPError
from mcp.shared.inbound import MCP_NAME_HEADER, decode_header_value
from mcp.types import METHOD_NOT_FOUND, RequestParams
from mcp.types.jsonrpc import HEADER_MISMATCH, MISSING_REQUIRED_CLIENT_CAPABILITY
from mcp.types.version import is_version_at_least
from pydantic import ConfigDict, Field

from moa_mcp.domain.model import Run
from moa_mcp.server.context import Context, owner_of
from moa_mcp.server.errors import with_readable_errors
from moa_mcp.server.tools.results import changed_at, rendered, run_result
from moa_mcp.service.service import Service

EXTENSION = "io.modelcontextprotocol/tasks"
SINCE = "2026-07-28"

POLL_MS = 2_000
"""The suggested polling interval for clients."""

DAY_MS = 86_400_000

WITH_DRAFTS = ".drafts"
"""The suffix of a task id, after the run id, if the client asked for the drafts."""

_STATUS = {"running": "working", "failed": "completed", "interrupted": "working"}
"""Task statuses that differ from run statuses. A failed run is a completed task: its error is a tool result."""


class TaskParams(RequestParams):
    """The parameters of all methods of the extension."""

    model_config = ConfigDict(extra="ignore")

    task_id: str = Field(alias="taskId", max_length=200)


def wanted(context: Context) -> bool:
    """Whether the client accepts a task as the answer to a call."""
    capabilities = context.session.client_capabilities
    declared = (capabilities.extensions if capabilities else None) or {}
    return EXTENSION in declared and is_version_at_least(context.protocol_version, SINCE)


def created(service: Service, run: Run, *, drafts: bool) -> dict[str, Any]:
    """The answer to a call whose run is still running: a task."""
    return {"resultType": "task", **_state(service, run, f"{run.run_id}{WITH_DRAFTS if drafts else ''}")}


class Tasks:
    """Serves the methods of the extension over one service."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def serve_on(self, server: Server[Any]) -> None:
        """Register the methods and the capability of the extension on a server."""
        server.extensions[EXTENSION] = {}
        for method, handler in (("get", self.get), ("update", self.update), ("cancel", self.cancel)):
            server.add_request_handler(f"tasks/{method}", TaskParams, with_readable_errors(_require_extension(handler)))

    async def get(self, context: Context, params: TaskParams) -> HandlerResult:
        """The state of a task, with the result once it is done. An interrupted run is resumed."""
        run = await self._service.collect(_run_id(params), owner=owner_of(context), wait_seconds=0)
        state = _state(self._service, run, params.task_id)
        if state["status"] == "completed":
            drafts = params.task_id.endswith(WITH_DRAFTS)
            reply = await rendered(run, lambda: run_result(run, drafts=drafts))
            state["result"] = reply.model_dump(by_alias=True, mode="json", exclude_none=True)
        return state

    async def update(self, context: Context, params: TaskParams) -> HandlerResult:
        """Accept answers to a task's questions. A run asks no questions, so this only checks the id."""
        await self._service.scheduler.get_run(owner_of(context), _run_id(params))
        return {}

    async def cancel(self, context: Context, params: TaskParams) -> HandlerResult:
        """Stop the run and its calls. A run that has ended is not changed."""
        await self._service.cancel(_run_id(params), owner=owner_of(context))
        return {}


def _require_extension(
    handler: Callable[[Context, TaskParams], Awaitable[HandlerResult]],
) -> Callable[[Context, TaskParams], Awaitable[HandlerResult]]:
    async def checked(context: Context, params: TaskParams) -> HandlerResult:
        if not is_version_at_least(context.protocol_version, SINCE):
            raise MCPError(METHOD_NOT_FOUND, "Method not found", context.method)
        if not wanted(context):
            needed: dict[str, Any] = {"requiredCapabilities": {"extensions": {EXTENSION: {}}}}
            raise MCPError(MISSING_REQUIRED_CLIENT_CAPABILITY, f"Declare the extension {EXTENSION}.", needed)
        _check_header(context, params)
        return await handler(context, params)

    return checked


def _check_header(context: Context, params: TaskParams) -> None:
    """Check that the HTTP header names the same task as the body, because a proxy may route by the header."""
    headers = getattr(context.request, "headers", {})
    header_id = decode_header_value(headers.get(MCP_NAME_HEADER))
    if header_id is not None and header_id != params.task_id:
        raise MCPError(HEADER_MISMATCH, f"The {MCP_NAME_HEADER} header names another task than the body's taskId.")


def _run_id(params: TaskParams) -> str:
    return params.task_id.removesuffix(WITH_DRAFTS)


def _state(service: Service, run: Run, task_id: str) -> dict[str, Any]:
    total = f" of about {run.planned_calls}" if run.planned_calls else ""
    return {
        "taskId": task_id,
        "status": _STATUS.get(run.status, run.status),
        "statusMessage": f"The run is {run.status}: {run.calls_made}{total} calls are done.",
        "createdAt": changed_at(replace(run, seconds=0)),
        "lastUpdatedAt": changed_at(run),
        "ttlMs": service.settings().store.keep_days * DAY_MS,
        "pollIntervalMs": POLL_MS,
    }
