"""Eight servers on one home have one day between them: together they never pass its ceiling, retries and all."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import anyio
import pytest

from moa_mcp.api import open_service
from moa_mcp.domain.model import Run
from moa_mcp.domain.spend import Spend
from moa_mcp.service.service import AskRequest
from moa_mcp.store.daily_budget import OverBudget
from tests.processes import together
from tests.service.fixtures import write_panel
from tests.upstream import Fault, Reply, Script, echo, upstream_thread
from tests.upstream.request import Request as Sent

SERVERS = 8
QUESTIONS = 3
CALLS_A_DAY = 30


@dataclass(slots=True)
class Done:
    """What one server did: the runs that it answered with, and the words in which it refused the others."""

    runs: list[Run] = field(default_factory=list[Run])
    refusals: list[str] = field(default_factory=list[str])


async def ask_all(number: int, ready: Callable[[], None], home: Path) -> Done:
    done = Done()
    async with open_service({"MOA_MCP_HOME": str(home)}) as service:

        async def ask(question: str) -> None:
            try:
                done.runs.append(await service.ask(AskRequest(question)))
            except OverBudget as refusal:
                done.refusals.append(str(refusal))

        ready()
        async with anyio.create_task_group() as group:
            for question in range(QUESTIONS):
                group.start_soon(ask, f"What is {number} by {question}?")
    return done


async def spent(home: Path) -> Spend:
    async with open_service({"MOA_MCP_HOME": str(home)}) as service:
        return await service.store.spent("local")


def stumbling() -> Script:
    """The first proposer is overloaded the first time that each question is asked."""
    asked = set[str]()

    def script(request: Sent) -> Reply | Fault:
        if request.model != "a" or request.question in asked:
            return echo(request)
        asked.add(request.question)
        return Fault.status(503, headers={"retry-after-ms": "1"})

    return script


@pytest.mark.parametrize(("script", "calls_a_run"), [(echo, 3), (stumbling(), 5)], ids=["all is well", "retries"])
def test_servers_that_are_asked_too_much_at_once_keep_to_the_ceiling_of_the_day(
    script: Script, calls_a_run: int, tmp_path: Path
) -> None:
    limits = f"limits: {{max_calls: {calls_a_run}, max_calls_per_day: {CALLS_A_DAY}}}\n"
    with upstream_thread(script) as upstream:
        calls = write_panel(tmp_path, upstream.base_url, limits)
        outcomes = together(ask_all, SERVERS, tmp_path)
        sent = len(upstream.requests)

    runs = [run for outcome in outcomes for run in outcome.result.runs]
    refusals = [words for outcome in outcomes for words in outcome.result.refusals]
    assert sent <= CALLS_A_DAY
    assert anyio.run(spent, tmp_path).calls == sent
    assert {run.status for run in runs} == {"completed"}
    assert len(runs) + len(refusals) == SERVERS * QUESTIONS
    assert [words for words in refusals if "limits.max_calls_per_day" not in words] == []
    if script is echo:
        # Nothing is retried, so each run takes what it reserved: the day is used to its last call.
        assert (len(runs), sent) == (CALLS_A_DAY // calls, CALLS_A_DAY)
    else:
        assert sent > calls * len(runs)
