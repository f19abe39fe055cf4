"""What each packaged preset costs in time: calls, serial rounds, and wall time over the critical path.

Every model takes 100 ms. `over_recorded` holds the wall time against the sum, over the serial rounds of the
run's own tree of batches and branches, of each round's slowest call as it was recorded; `over_upstream`
against 100 ms for each round, so that nothing of ours can hide in the recorded times. Told are the best and
the median of five asks: the best is what we add, the median also what else the machine was doing. One JSON line.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import anyio

from moa_mcp.endpoints import BUILTIN
from moa_mcp.model import Batch, Run
from moa_mcp.presets import PresetLibrary
from moa_mcp.runner import BatchStarted, Event
from moa_mcp.service.service import Request, Service
from moa_mcp.testing import Reply, Upstream
from moa_mcp.testing import Request as Received
from moa_mcp.testing.obliging import obliging
from moa_mcp.wiring import open_service

CALL_SECONDS = 0.1
ASKS = 5
QUESTION = "Which of the two proofs holds, and where does the other one break?"


def slowly(request: Received) -> Reply:
    """What was asked for, after 100 ms."""
    return replace(obliging(request), delay=CALL_SECONDS, pieces=1)


@contextmanager
def upstream() -> Generator[str]:
    """The upstream in a process of its own; yields its base URL."""
    command = [sys.executable, "-m", __spec__.name, "serve"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        try:
            yield json.loads(server.stdout.readline())
        finally:
            server.stdin.close()
            server.wait(10)


async def serve() -> None:
    """Serve until standard input is closed."""
    async with Upstream(slowly, models=("llama3.2", "qwen3:8b", "gemma3:4b")) as served:
        sys.stdout.write(json.dumps(served.base_url) + "\n")
        sys.stdout.flush()
        await anyio.to_thread.run_sync(sys.stdin.read)


class CriticalPath:
    """The critical path of one run: heard batch by batch, measured once the run is over."""

    def __init__(self) -> None:
        self._batches: list[Batch] = []
        self._seconds: dict[str, float] = {}

    def hear(self, event: Event) -> None:
        if isinstance(event, BatchStarted):
            self._batches.append(event.batch)

    def rounds(self, run: Run) -> tuple[float, int]:
        """The seconds of the slowest call of each round, summed up, and how many rounds asked a model."""
        self._seconds = {record.call.id: record.seconds for record in run.calls}
        return self._along("")

    def _along(self, prefix: str) -> tuple[float, int]:
        own = [batch for batch in self._batches if batch.asked and _prefix(batch.asked[0].id) == prefix]
        found = [self._longest(batch) for batch in own]
        return sum(seconds for seconds, _ in found), sum(rounds for _, rounds in found)

    def _longest(self, batch: Batch) -> tuple[float, int]:
        calls = [(self._seconds.get(call.id, 0.0), int(call.kind != "code")) for call in batch.calls]
        return max((*calls, *(self._along(f"{branch.id}/") for branch in batch.branches)), key=lambda one: one[0])


def _prefix(identity: str) -> str:
    return identity[: identity.rfind("/") + 1]


async def measure(service: Service, name: str) -> dict[str, float]:
    """Ask a preset a few times, after once to open connections; the best ask is told, and the median ratio."""
    await _ask(service, name, 0)
    found = [await _ask(service, name, number) for number in range(1, ASKS + 1)]
    found.sort(key=lambda one: one["over_recorded"])
    return {**found[0], "median_over_recorded": found[ASKS // 2]["over_recorded"]}


async def _ask(service: Service, name: str, number: int) -> dict[str, float]:
    path = CriticalPath()
    began = time.perf_counter()
    run = await service.ask(Request(f"{QUESTION} ({number})", preset=name, fresh=True), listener=path.hear)
    wall = time.perf_counter() - began
    assert run.status == "completed", run.error
    recorded, rounds = path.rounds(run)
    return {
        "calls": run.calls_made,
        "rounds": rounds,
        "wall_s": round(wall, 3),
        "over_recorded": round(wall / recorded, 3),
        "over_upstream": round(wall / (rounds * CALL_SECONDS), 3),
    }


async def main(base_url: str) -> None:
    """Measure every preset that sends anything, and print one line."""
    names = [name for name in PresetLibrary(None).names() if name != "demo"]
    with tempfile.TemporaryDirectory() as home:
        _configure(Path(home), base_url)
        async with open_service({"MOA_MCP_HOME": home}) as service:
            found = {name: await measure(service, name) for name in names}
    deep = [one for one in found.values() if one["rounds"] >= 3]
    worst = {key: max(one[key] for one in deep) for key in ("over_recorded", "median_over_recorded")}
    sys.stdout.write(json.dumps({"worst_of_3_rounds_or_more": worst, "presets": found}) + "\n")


def _configure(home: Path, base_url: str) -> None:
    remote = (name for name, endpoint in BUILTIN.items() if endpoint.dialect != "demo")
    entry = f"{{base_url: {base_url}, api_key_env: null, dialect: openai, max_concurrency: 64}}"
    lines = "".join(f"  {name}: {entry}\n" for name in remote)
    (home / "config.yaml").write_text(f"providers:\n{lines}", encoding="utf-8")


if __name__ == "__main__":
    if sys.argv[1:] == ["serve"]:
        anyio.run(serve)
    else:
        with upstream() as address:
            anyio.run(main, address)
