"""Our server with the fixtures of the official conformance suite, over HTTP, so that everything in the suite can pass.

`python -m tests.conformance_app PORT` serves it on this machine, for `scripts/conformance`. The SDK's own web
application carries it: with that, the suite can break streams off and go on with them. Our transport is tested with
the server as it is.
"""

from __future__ import annotations

import sys
import tempfile
from typing import Any

import anyio
import uvicorn
from mcp.server.streamable_http import EventCallback, EventId, EventMessage, EventStore, StreamId
from mcp.types import (
    CallToolRequestParams,
    EmptyResult,
    GetPromptRequestParams,
    JSONRPCMessage,
    PaginatedRequestParams,
    ReadResourceRequestParams,
    SetLevelRequestParams,
)
from starlette.types import Receive, Scope, Send

from moa_mcp.api import open_service
from moa_mcp.server.build import MoAServer, build_server
from moa_mcp.server.context import OWNER, Context
from moa_mcp.service.service import LOCAL
from tests import conformance_fixtures as fixtures
from tests import conformance_questions as questions

TOOLS = {**fixtures.TOOLS, **questions.TOOLS}
ASKING_PROMPT = "test_input_required_result_prompt"
PROMPTS = {prompt.name: prompt for prompt in fixtures.PROMPTS}
PROMPTS[ASKING_PROMPT] = PROMPTS["test_simple_prompt"].model_copy(update={"name": ASKING_PROMPT})


def with_fixtures(server: MoAServer) -> MoAServer:
    """The server, with the suite's tools, resources and prompts beside its own."""
    _add_tools(server)
    _add_resources(server)
    _add_prompts(server)

    async def set_level(context: Context, params: SetLevelRequestParams) -> EmptyResult:
        return EmptyResult()

    server.add_request_handler("logging/setLevel", SetLevelRequestParams, set_level)
    return server


def _own(server: MoAServer, method: str) -> Any:
    entry = server.get_request_handler(method)
    assert entry is not None
    return entry.handler


def _add_list(server: MoAServer, method: str, name: str, more: list[Any]) -> None:
    own = _own(server, method)

    async def listed(context: Context, params: PaginatedRequestParams) -> Any:
        result = await own(context, params)
        return result.model_copy(update={name: [*getattr(result, name), *more]})

    server.add_request_handler(method, PaginatedRequestParams, listed)


def _add_tools(server: MoAServer) -> None:
    own = _own(server, "tools/call")

    async def call(context: Context, params: CallToolRequestParams) -> Any:
        fixture = TOOLS.get(params.name)
        return await (fixture.run(server, context, params) if fixture else own(context, params))

    _add_list(server, "tools/list", "tools", [tool.listed(name) for name, tool in TOOLS.items()])
    server.add_request_handler("tools/call", CallToolRequestParams, call)


def _add_resources(server: MoAServer) -> None:
    own = _own(server, "resources/read")

    async def read(context: Context, params: ReadResourceRequestParams) -> Any:
        return fixtures.read(params.uri) if params.uri.startswith("test:") else await own(context, params)

    _add_list(server, "resources/list", "resources", fixtures.RESOURCES)
    _add_list(server, "resources/templates/list", "resource_templates", fixtures.TEMPLATES)
    server.add_request_handler("resources/read", ReadResourceRequestParams, read)


def _add_prompts(server: MoAServer) -> None:
    own = _own(server, "prompts/get")

    async def get(context: Context, params: GetPromptRequestParams) -> Any:
        if params.name == ASKING_PROMPT:
            return questions.prompt(params)
        if params.name in PROMPTS:
            return fixtures.prompt(params.name, params.arguments or {})
        return await own(context, params)

    _add_list(server, "prompts/list", "prompts", list(PROMPTS.values()))
    server.add_request_handler("prompts/get", GetPromptRequestParams, get)


class Events(EventStore):
    """Keeps what was sent, so that the suite can break a stream off and go on with it."""

    def __init__(self) -> None:
        self._sent: list[tuple[StreamId, JSONRPCMessage | None]] = []

    async def store_event(self, stream_id: StreamId, message: JSONRPCMessage | None) -> EventId:
        self._sent.append((stream_id, message))
        return str(len(self._sent))

    async def replay_events_after(self, last_event_id: EventId, send_callback: EventCallback) -> StreamId | None:
        seen = int(last_event_id)
        stream_id = self._sent[seen - 1][0]
        for number, (stream, message) in enumerate(self._sent[seen:], seen + 1):
            if stream == stream_id and message is not None:
                await send_callback(EventMessage(message, str(number)))
        return stream_id


async def main(port: int) -> None:
    """Serve until the process is told to stop."""
    with tempfile.TemporaryDirectory() as home:
        async with open_service({"MOA_MCP_HOME": home}) as service:
            server = with_fixtures(build_server(service))
            carrier = server.streamable_http_app(event_store=Events(), retry_interval=100)

            async def app(scope: Scope, receive: Receive, send: Send) -> None:
                await carrier({**scope, OWNER: LOCAL}, receive, send)

            await uvicorn.Server(uvicorn.Config(app, port=port, log_level="warning")).serve()


if __name__ == "__main__":
    anyio.run(main, int(sys.argv[1]))
