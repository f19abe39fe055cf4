"""The same question of the same owner, asked in several servers at the same moment: one of them pays."""

from collections import Counter
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

import anyio
import pytest

from moa_mcp.api import open_service
from moa_mcp.domain.model import Run
from moa_mcp.service.service import AskRequest
from tests.processes import Outcome, child, together
from tests.service.fixtures import write_panel
from tests.upstream import Reply, ThreadedUpstream, echo, upstream_thread
from tests.upstream.request import Request as Sent

SERVERS = 8
QUESTIONS = ("How deep is the sea?", "How high is the sky?", "How long is the day?", "How old is the moon?")


async def ask_all(number: int, ready: Callable[[], None], home: Path) -> list[Run]:
    runs = dict[str, Run]()
    async with open_service({"MOA_MCP_HOME": str(home)}) as service:

        async def ask(question: str) -> None:
            runs[question] = await service.ask(AskRequest(question))

        await service.latest()  # the store is open
        ready()
        async with anyio.create_task_group() as group:
            for question in QUESTIONS:
                group.start_soon(ask, question)
    return [runs[question] for question in QUESTIONS]


def paid_at(upstream: ThreadedUpstream) -> Counter[str]:
    """How many calls were made for each question."""
    return Counter(question for sent in upstream.requests for question in QUESTIONS if question in sent.question)


def check_that_all_have_the_same(outcomes: list[Outcome[list[Run]]]) -> None:
    assert [line for outcome in outcomes for line in outcome.log] == []
    for same in zip(*(outcome.result for outcome in outcomes), strict=True):
        assert {(run.status, run.notes) for run in same} == {("completed", ())}
        assert len({run.run_id for run in same}) == len({run.answer for run in same}) == 1


@pytest.mark.slow
def test_of_servers_that_are_asked_the_same_at_the_same_moment_one_pays(tmp_path: Path) -> None:
    with upstream_thread() as upstream:
        calls = write_panel(tmp_path, upstream.base_url)
        outcomes = together(ask_all, SERVERS, tmp_path)

    assert paid_at(upstream) == dict.fromkeys(QUESTIONS, calls)
    check_that_all_have_the_same(outcomes)


class Stalled:
    """Models that echo, all but the aggregator, which does not answer until `over` is set."""

    def __init__(self) -> None:
        self.over = False

    async def __call__(self, request: Sent) -> Reply:
        if request.model == "agg" and not self.over:
            await anyio.sleep_forever()
        return echo(request)


def ask_until_killed(home: Path, pipe: Connection) -> None:
    anyio.run(ask_all, 0, lambda: None, home)


@pytest.mark.slow
def test_of_servers_that_find_runs_interrupted_at_the_same_moment_one_pays_for_what_is_missing(tmp_path: Path) -> None:
    stalled = Stalled()
    with upstream_thread(stalled) as upstream:
        calls = write_panel(tmp_path, upstream.base_url)
        with child(ask_until_killed, tmp_path):
            upstream.until(lambda seen: seen.open == len(QUESTIONS) and len(seen.requests) == calls * len(QUESTIONS))
        stalled.over = True
        outcomes = together(ask_all, SERVERS, tmp_path)

    # The aggregator was asked by the server that was killed, and by one of those that found its runs.
    assert paid_at(upstream) == dict.fromkeys(QUESTIONS, calls + 1)
    check_that_all_have_the_same(outcomes)
