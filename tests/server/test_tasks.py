"""The tasks extension, spoken to in raw JSON-RPC."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from itertools import count
from typing import Any

import anyio
import pytest
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.shared.message import SessionMessage
from mcp.types import JSONRPCRequest

from moa_mcp.domain.errors import ProviderError, Reason
from moa_mcp.server.build import build_server
from moa_mcp.server.tasks import EXTENSION
from moa_mcp.testing.scripted import HoldingProvider, ScriptedProvider

Serve = Callable[..., AbstractAsyncContextManager[Any]]

# The raw client is of the newer era; which one the other client is of makes no difference.
pytestmark = pytest.mark.parametrize("mode", ["auto"], indirect=True, ids=["2026-07-28"])


class Raw:
    """A client that sends what the test asks for, and returns the raw answers."""

    def __init__(
        self, out: MemoryObjectSendStream[Any], back: MemoryObjectReceiveStream[Any], extensions: dict[str, Any]
    ) -> None:
        self._out, self._back, self._ids = out, back, count(1)
        self._meta = {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientInfo": {"name": "raw", "version": "1"},
            "io.modelcontextprotocol/clientCapabilities": {"extensions": extensions},
        }

    async def say(self, method: str, **params: Any) -> dict[str, Any]:
        """The answer to a request: its `result`, or its `error`."""
        params = {**params, "_meta": self._meta}
        request = JSONRPCRequest(jsonrpc="2.0", id=next(self._ids), method=method, params=params)
        await self._out.send(SessionMessage(request))
        while True:
            message = (await self._back.receive()).message.model_dump(by_alias=True, mode="json", exclude_none=True)
            if message.get("id") == request.id:
                answer: dict[str, Any] = message.get("result") or message["error"]
                return answer

    async def ask(self, **arguments: Any) -> dict[str, Any]:
        return await self.say("tools/call", name="moa_ask", arguments=arguments)

    async def task(self, task_id: str) -> dict[str, Any]:
        return await self.say("tasks/get", taskId=task_id)

    async def done(self, task_id: str) -> dict[str, Any]:
        """The task once it works no more."""
        while (task := await self.task(task_id))["status"] == "working":
            await anyio.lowlevel.checkpoint()
        return task


@asynccontextmanager
async def raw(served: Any, extensions: dict[str, Any]) -> AsyncGenerator[Raw]:
    """A raw client of a server over the service of `served`."""
    server = build_server(served.service)
    out, incoming = anyio.create_memory_object_stream[Any](10)
    outgoing, back = anyio.create_memory_object_stream[Any](10)
    async with out, back, anyio.create_task_group() as tasks:
        tasks.start_soon(server.run, incoming, outgoing, server.create_initialization_options())
        yield Raw(out, back, extensions)
        tasks.cancel_scope.cancel()


async def test_a_client_that_declares_tasks_gets_one_at_once_and_its_result_when_it_is_done(serve: Serve) -> None:
    gate = HoldingProvider(ScriptedProvider(lambda call: f"said by {call.id}"), lambda call: call.role == "aggregator")
    async with serve(gate) as served, raw(served, {EXTENSION: {}}) as client:
        created = await client.ask(question="Q?")
        await gate.held.wait()
        working = await client.task(created["taskId"])
        gate.opened.set()
        done = await client.done(created["taskId"])
        run = await served.service.latest()

    assert (created["resultType"], created["status"], created["taskId"]) == ("task", "working", run.run_id)
    assert not {"result", "error", "task", "inputRequests"} & created.keys()
    assert created["ttlMs"] > 0
    assert created["pollIntervalMs"] > 0
    assert working["resultType"] == "complete"
    assert "2 of about 3 calls" in working["statusMessage"]
    assert done["status"] == "completed"
    assert done["result"]["structuredContent"]["answer"] == "said by 2.1"
    assert done["result"]["content"][0]["text"].startswith("said by 2.1")


async def test_what_is_answered_already_needs_no_task(serve: Serve) -> None:
    async with serve(ScriptedProvider(lambda call: call.id)) as served, raw(served, {EXTENSION: {}}) as client:
        run_id = (await served.ask(question="Q?")).facts["run_id"]
        again = await client.ask(question="Q?")
        collected = await client.ask(run_id=run_id)
        refused = await client.ask()

    assert [one["resultType"] for one in (again, collected, refused)] == ["complete"] * 3
    assert again["structuredContent"]["answer"] == collected["structuredContent"]["answer"] == "2.1"
    assert refused["isError"]


async def test_drafts_that_were_asked_for_are_in_the_tasks_result(serve: Serve) -> None:
    async with serve(ScriptedProvider(lambda call: call.id)) as served, raw(served, {EXTENSION: {}}) as client:
        created = await client.ask(question="Q?", drafts="full")
        done = await client.done(created["taskId"])

    assert [draft["text"] for draft in done["result"]["structuredContent"]["drafts"]] == ["1.1", "1.2"]


async def test_a_failed_run_is_a_completed_task_whose_result_is_an_error(serve: Serve) -> None:
    failing = ScriptedProvider(lambda call: ProviderError(Reason.BILLING))
    async with serve(failing) as served, raw(served, {EXTENSION: {}}) as client:
        created = await client.ask(question="Q?")
        done = await client.done(created["taskId"])

    assert (done["status"], done["result"]["isError"]) == ("completed", True)
    assert "no credit" in done["result"]["content"][0]["text"]


async def test_cancelling_a_task_stops_its_run_and_is_acknowledged_with_nothing(serve: Serve) -> None:
    gate = HoldingProvider(ScriptedProvider(lambda call: call.id), lambda call: True)
    async with serve(gate) as served, raw(served, {EXTENSION: {}}) as client:
        task_id = (await client.ask(question="Q?"))["taskId"]
        await gate.held.wait()
        acknowledged = [await client.say("tasks/cancel", taskId=task_id) for _ in range(2)]
        updated = await client.say("tasks/update", taskId=task_id, inputResponses={})
        task = await client.task(task_id)

    assert [set(answer) for answer in (*acknowledged, updated)] == [{"resultType", "_meta"}] * 3
    assert task["status"] == "cancelled"
    assert "result" not in task
    assert sorted(call.id for call in gate.cancelled) == ["1.1", "1.2"]


@pytest.mark.parametrize("method", ["tasks/get", "tasks/update", "tasks/cancel"])
async def test_a_task_that_is_not_there_is_an_error_of_the_protocol(serve: Serve, method: str) -> None:
    async with serve(ScriptedProvider(lambda call: call.id)) as served, raw(served, {EXTENSION: {}}) as client:
        error = await client.say(method, taskId="none")

    assert error["code"] == -32602
    assert "There is no run" in error["message"]


async def test_a_client_that_does_not_declare_tasks_never_gets_one(serve: Serve) -> None:
    gate = HoldingProvider(ScriptedProvider(lambda call: call.id), lambda call: True)
    async with serve(gate) as served, raw(served, {}) as client:
        answer = await client.ask(question="Q?", wait_seconds=0)
        refused = [await client.say(f"tasks/{name}", taskId="any") for name in ("get", "update", "cancel")]

    assert answer["resultType"] == "complete"
    assert answer["structuredContent"]["status"] == "running"
    assert [error["code"] for error in refused] == [-32021] * 3
    assert refused[0]["data"] == {"requiredCapabilities": {"extensions": {EXTENSION: {}}}}


async def test_the_extension_is_announced(serve: Serve) -> None:
    async with serve(ScriptedProvider(lambda call: call.id)) as served, raw(served, {}) as client:
        discovered = await client.say("server/discover")

    assert EXTENSION in discovered["capabilities"]["extensions"]
