"""What each packaged preset costs in time: calls, serial rounds, and wall time over the critical path.

Every model takes 100 ms. `over_critical_path` is the wall time divided by the time of the same serial rounds on a bare
socket, where the rounds come from the run's own batches and branches (code that runs locally counts as long as it
took). `over_recorded` is the wall time divided by the recorded time of each round's slowest call, so it leaves out the
overhead of the connection. Prints the best and the median of five asks in one line of JSON: the best shows what
moa-mcp adds, the median also contains other work of the machine.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from functools import reduce
from pathlib import Path

import anyio

from benchmarks.upstream import CALL_MS, started, time_of
from moa_mcp.api import open_service
from moa_mcp.cli.commands.serve import tune_gc
from moa_mcp.domain.endpoints import BUILTIN
from moa_mcp.domain.model import Batch, Call, CodeCall, Run
from moa_mcp.presets.library import PresetLibrary
from moa_mcp.runs.events import BatchStarted, Event
from moa_mcp.service.service import AskRequest, Service

ASKS = 5
RATIOS = ("over_critical_path", "over_recorded")
QUESTION = "Which of the two proofs holds, and where does the other one break?"


@dataclass(frozen=True, slots=True)
class Stretch:
    """The slowest path through a part of a run: rounds of model calls, their seconds, and the seconds of local code."""

    rounds: int = 0
    models: float = 0.0
    code: float = 0.0

    @property
    def seconds(self) -> float:
        return self.models + self.code

    def then(self, other: Stretch) -> Stretch:
        return Stretch(self.rounds + other.rounds, self.models + other.models, self.code + other.code)


class CriticalPath:
    """The critical path of one run. It collects the batches during the run, and computes the path after the run."""

    def __init__(self) -> None:
        self._batches: list[Batch] = []
        self._seconds: dict[str, float] = {}

    def hear(self, event: Event) -> None:
        if isinstance(event, BatchStarted):
            self._batches.append(event.batch)

    def of(self, run: Run) -> Stretch:
        """The sum of the slowest calls of all rounds."""
        self._seconds = {record.call.id: record.seconds for record in run.calls}
        return self._along(None)

    def _along(self, parent: str | None) -> Stretch:
        own = (batch for batch in self._batches if batch.all_calls and batch.all_calls[0].parent == parent)
        return reduce(Stretch.then, map(self._slowest, own), Stretch())

    def _slowest(self, batch: Batch) -> Stretch:
        calls = (self._path(call) for call in batch.calls)
        return max((*calls, *(self._along(branch.id) for branch in batch.branches)), key=lambda path: path.seconds)

    def _path(self, call: Call) -> Stretch:
        seconds = self._seconds.get(call.id, 0.0)
        return Stretch(code=seconds) if isinstance(call, CodeCall) else Stretch(rounds=1, models=seconds)


async def measure(service: Service, name: str, call_seconds: float) -> dict[str, float]:
    """Ask once to open connections, then `ASKS` times; return the best ask and the median ratios."""
    await _ask(service, name, 0, call_seconds)
    found = [await _ask(service, name, number, call_seconds) for number in range(1, ASKS + 1)]
    medians = {f"median_{key}": statistics.median(one[key] for one in found) for key in RATIOS}
    return {**min(found, key=lambda one: one["wall_s"]), **medians}


async def _ask(service: Service, name: str, number: int, call_seconds: float) -> dict[str, float]:
    path = CriticalPath()
    began = time.perf_counter()
    run = await service.ask(AskRequest(f"{QUESTION} ({number})", preset=name, fresh=True), handler=path.hear)
    wall = time.perf_counter() - began
    assert run.status == "completed", run.error
    slowest = path.of(run)
    return {
        "calls": run.calls_made,
        "rounds": slowest.rounds,
        "wall_s": round(wall, 3),
        "over_critical_path": round(wall / (slowest.rounds * call_seconds + slowest.code), 3),
        "over_recorded": round(wall / slowest.seconds, 3),
    }


async def main(base_url: str) -> None:
    """Measure every preset that calls models, and print one line of JSON."""
    names = [name for name in PresetLibrary(None).names() if name != "demo"]
    call_seconds = await time_of(base_url, f"m{CALL_MS}")
    with tempfile.TemporaryDirectory() as home:
        _configure(Path(home), base_url)
        tune_gc()  # as `moa-mcp serve` does
        async with open_service({"MOA_MCP_HOME": home}) as service:
            found = {name: await measure(service, name, call_seconds) for name in names}
    deep = [one for one in found.values() if one["rounds"] >= 3]
    worst = {key: max(one[key] for one in deep) for ratio in RATIOS for key in (ratio, f"median_{ratio}")}
    sys.stdout.write(json.dumps({"worst_of_3_rounds_or_more": worst, "presets": found}) + "\n")


def _configure(home: Path, base_url: str) -> None:
    remote = (name for name, endpoint in BUILTIN.items() if endpoint.dialect != "demo")
    entry = f"{{base_url: {base_url}, api_key_env: null, dialect: openai, max_concurrency: 64}}"
    lines = "".join(f"  {name}: {entry}\n" for name in remote)
    (home / "config.yaml").write_text(f"providers:\n{lines}", encoding="utf-8")


if __name__ == "__main__":
    with started() as address:
        anyio.run(main, address)
