"""What a server leaves for the next one: its runs, to go on where they stopped, or nothing where nothing is kept."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

import pytest

from tests.server.transports.fixtures import ENVELOPE, Talk, held, line_of, on_pipes, write_home
from tests.upstream import Reply, Request, Upstream, echo

DEEP = "{proposers: [lab/a, lab/b, lab/c], layers: 3, aggregator: lab/agg}"
PAID = ["a 1", "b 1", "c 1", "a 2", "c 2"]
"""The model and layer of each draft that is there when `b` keeps its second layer waiting."""


class Stalled:
    """Models that echo, all but `b`, which does not answer in the second layer until `over` is set."""

    def __init__(self) -> None:
        self.over = False

    def __call__(self, request: Request) -> Reply | Awaitable[Reply]:
        stalls = request.model == "b" and "b was asked" in request.prompt
        return held(request) if stalls and not self.over else echo(request)


def calling(**arguments: Any) -> dict[str, Any]:
    """A call of moa_ask."""
    return {"name": "moa_ask", "arguments": arguments}


async def drafts(talk: Talk, run: str = "latest") -> list[dict[str, Any]]:
    """The drafts of a run that there are so far."""
    return list(json.loads(await talk.read(f"moa://runs/{run}/drafts"))["drafts"])


def named(result: list[dict[str, Any]]) -> list[str]:
    return [f"{draft['model'].removeprefix('lab/')} {draft['layer']}" for draft in result]


async def paid_for(talk: Talk, upstream: Upstream) -> list[dict[str, Any]]:
    """The drafts of a run that is held up, once each of them is kept."""
    await upstream.until(lambda seen: len(seen.requests) == len(PAID) + 1 and seen.open == 1)
    while len(result := await drafts(talk)) < len(PAID):
        pass
    return result


@pytest.mark.parametrize("end", [signal.SIGTERM, None], ids=["SIGTERM", "EOF"])
@pytest.mark.parametrize(
    "wait_seconds", [pytest.param(0, id="handed back", marks=pytest.mark.slow), pytest.param(60, id="waited for")]
)
async def test_the_next_server_pays_only_for_what_the_last_one_left_unfinished(
    end: signal.Signals | None, wait_seconds: float, tmp_path: Path
) -> None:
    stalled = Stalled()
    async with Upstream(stalled) as upstream:
        write_home(tmp_path, upstream)
        (tmp_path / "presets" / "deep.yaml").write_text(DEEP, encoding="utf-8")
        async with on_pipes(tmp_path, upstream) as left:
            params = calling(question="Why?", preset="deep", wait_seconds=wait_seconds)
            await left.say(line_of(id=1, method="tools/call", params={**params, "_meta": ENVELOPE}))
            if not wait_seconds:
                assert (await left.hear())["result"]["structuredContent"]["status"] == "running"
            before = await paid_for(left, upstream)
            await left.end(end)
        stalled.over = True

        async with on_pipes(tmp_path, upstream) as talk:
            found = json.loads(await talk.read("moa://runs/latest"))
            run_id = found["run_id"]
            collected = await talk.ask(1, "tools/call", **calling(run_id=run_id))
            after = await drafts(talk, run_id)

    again = upstream.requests[len(PAID) + 1 :]
    [cut_off] = upstream.ledger.abandoned
    assert (left.process.returncode, found["status"], named(before)) == (0, "interrupted", PAID)
    assert collected["result"]["structuredContent"]["status"] == "completed"
    assert [request.model for request in again] == ["b", "agg"]
    assert again[0].body == cut_off.body
    assert re.findall(r"(\w) was asked", again[1].prompt) == ["a", "b", "c"]
    assert [draft for draft in after if draft in before] == before
    assert named(after) == ["a 1", "b 1", "c 1", "a 2", "b 2", "c 2"]


async def test_a_server_that_keeps_nothing_answers_and_leaves_nothing(tmp_path: Path) -> None:
    async with Upstream() as upstream:
        write_home(tmp_path, upstream)
        config = json.loads((tmp_path / "config.yaml").read_text(encoding="utf-8"))
        (tmp_path / "config.yaml").write_text(json.dumps({**config, "store": {"enabled": False}}), encoding="utf-8")
        written = sorted(tmp_path.rglob("*"))
        async with on_pipes(tmp_path) as talk:
            asked = (await talk.ask(1, "tools/call", **calling(question="Why?")))["result"]["structuredContent"]
            result = await drafts(talk, asked["run_id"])
            run = json.loads(await talk.read(asked["resources"]["run"]))
            there = sorted(tmp_path.rglob("*"))
            await talk.end(None)

    assert asked["answer"].startswith("agg was asked: Why?")
    assert (run["status"], run["answer"], named(result)) == ("completed", asked["answer"], ["p 1"] * 3)
    assert there == sorted(tmp_path.rglob("*")) == written
