"""Servers that are killed while their calls are under way: what they had sent is booked all the same."""

from __future__ import annotations

from multiprocessing.connection import Connection
from pathlib import Path

import anyio
import pytest

from moa_mcp.api import open_service
from moa_mcp.domain.model import Run
from moa_mcp.runs.events import CallEnded, Event, TextArrived
from moa_mcp.service.service import AskRequest
from moa_mcp.store.daily_budget import OverBudget
from tests.processes import child
from tests.service.fixtures import write_panel
from tests.upstream import Fault, Reply, Script, echo, upstream_thread
from tests.upstream.request import Request as Sent
from tests.upstream.threaded import ThreadedUpstream

pytestmark = pytest.mark.slow

CALLS_A_DAY = 12
LIMIT = f"limits: {{max_calls_per_day: {CALLS_A_DAY}}}\n"
KILLS = 8


def ask(home: Path, question: str, pipe: Connection) -> None:
    """Ask, and tell of each call that says something or ends; or that the day has no room."""
    anyio.run(_ask, home, question, pipe)


async def _ask(home: Path, question: str, pipe: Connection) -> None:
    def tell(event: Event) -> None:
        if isinstance(event, TextArrived):
            pipe.send(event.call.id)
        elif isinstance(event, CallEnded):
            pipe.send(event.record.call.id)

    async with open_service({"MOA_MCP_HOME": str(home)}) as service:
        try:
            await service.ask(AskRequest(question), handler=tell)
        except OverBudget:
            pipe.send("refused")


def killed(home: Path, question: str) -> bool:
    """Ask in a server that is killed once both its proposers have said something; False if it was refused."""
    with child(ask, home, question) as server:
        received = {server.receive()}
        while received < {"1.1", "1.2"}:
            received.add(server.receive())
        return "refused" not in received


async def booked(home: Path) -> int:
    """The calls that are booked of the day, once a server has looked after those that are gone."""
    async with open_service({"MOA_MCP_HOME": str(home)}) as service:
        await service.store.prune()
        return (await service.store.spent("local")).calls


def hanging(request: Sent) -> Reply | Fault:
    """Say a little, and no more."""
    return Fault.hang(after=1)


def stumbling() -> Script:
    """The first proposer is overloaded the first time that each question is asked; then all hang."""
    asked = set[str]()

    def script(request: Sent) -> Reply | Fault:
        if request.model != "a" or request.question in asked:
            return hanging(request)
        asked.add(request.question)
        return Fault.status(503, headers={"retry-after-ms": "1"})

    return script


@pytest.mark.parametrize("script", [hanging, stumbling()], ids=["hanging", "retries"])
def test_who_asks_and_is_killed_again_and_again_is_refused_once_the_day_is_used_up(
    script: Script, tmp_path: Path
) -> None:
    with upstream_thread(script) as upstream:
        write_panel(tmp_path, upstream.base_url, LIMIT)
        began = [killed(tmp_path, f"What is {number}?") for number in range(KILLS)]
        sent = len(upstream.requests)

    assert not began[-1]
    assert sent <= anyio.run(booked, tmp_path) <= CALLS_A_DAY
    assert sent >= sum(began) * 2 >= 8


async def collected(home: Path) -> Run:
    async with open_service({"MOA_MCP_HOME": str(home)}) as service:
        [run] = await service.runs()
        return await service.collect(run.run_id)


def test_a_run_that_is_resumed_after_its_server_was_killed_is_booked_at_what_was_sent_in_all(tmp_path: Path) -> None:
    def hangs_once(request: Sent) -> Reply | Fault:
        first = sum(one.model == "b" for one in upstream.requests) == 1
        return Fault.hang(after=1) if request.model == "b" and first else echo(request)

    upstream: ThreadedUpstream
    with upstream_thread(hangs_once) as upstream:
        write_panel(tmp_path, upstream.base_url)
        killed(tmp_path, "What is left?")
        run = anyio.run(collected, tmp_path)
        sent = len(upstream.requests)

    assert (run.status, run.calls_made) == ("completed", 3)
    assert sent in {4, 5}  # what had just ended when the server died may not have been written down yet
    assert anyio.run(booked, tmp_path) == sent
