"""Kill servers with SIGKILL during their runs, 200 times, and check their stores. Prints one line of JSON.

    python -m benchmarks.durability [KILLS]

Each server asks two questions at once, and is killed when it has acknowledged a random number of drafts. Another
server then collects the runs. Prints how many stores were corrupt, how many acknowledged drafts were lost, how many
calls were paid for twice, and the 99th percentile of the time to store a draft.
"""

from __future__ import annotations

import json
import multiprocessing
import random
import sqlite3
import statistics
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import anyio

from moa_mcp.api import open_service
from moa_mcp.domain.model import CallRecord, ChatCall, Draft, Run, Task
from moa_mcp.domain.preset import Preset
from moa_mcp.domain.spend import Spend
from moa_mcp.runs.events import CallEnded, Event
from moa_mcp.service.service import AskRequest
from moa_mcp.store.daily_budget import ReservationRequest
from moa_mcp.store.sqlite.store import SqliteStore
from tests.upstream.process import UpstreamProcess, upstream_process

KILLS = 200
QUESTIONS = ("How deep is the sea?", "How high is the sky?")
PRESETS = {
    "inner": "layers: 2\nproposers: [lab/a, lab/b]\naggregator: lab/c\n",
    "panel": "layers: 3\nproposers: [lab/d, lab/e, {preset: inner}]\naggregator: lab/f\n",
}
CALLS = 2 * (2 + 3) + 1
"""The calls of a run of `panel`: in each of two layers two proposers and the three calls of `inner`; one aggregator."""

_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload(["moa_mcp.api", "moa_mcp.providers.wire.http", "moa_mcp.store.sqlite.store"])


@dataclass(frozen=True, slots=True)
class Aftermath:
    """The result of one kill. `states` are the statuses of the runs before they were collected, `ends` after that."""

    corrupt: bool
    lost: int
    paid_twice: int
    states: tuple[str, ...]
    ends: tuple[str, ...]


def kill_once(home: Path, upstream: UpstreamProcess, after: int) -> Aftermath:
    """Kill a server after `after` acknowledged calls, collect its runs with another server, and compare."""
    _write_home(home, upstream.base_url)
    acknowledged = _run_and_kill(home, after)
    corrupt = _is_corrupt(home / "runs.db")
    journal, states = _journal(home / "runs.db")
    sent_before = upstream.ledger()["requests"]
    ends = _collect_in_process(home, list(journal))
    sent = upstream.ledger()["requests"] - sent_before
    kept = {(run_id, call_id) for run_id, calls in journal.items() for call_id in calls}
    missing = sum(CALLS - len(calls) for calls in journal.values())
    return Aftermath(corrupt, len(acknowledged - kept), max(0, sent - missing), states, ends)


def _write_home(home: Path, base_url: str) -> None:
    (home / "presets").mkdir(parents=True)
    for name, text in PRESETS.items():
        (home / "presets" / f"{name}.yaml").write_text(text, encoding="utf-8")
    config = f"default_preset: panel\nproviders:\n  lab: {{base_url: '{base_url}'}}\n"
    (home / "config.yaml").write_text(config, encoding="utf-8")


def _run_and_kill(home: Path, after: int) -> set[tuple[str, str]]:
    """Let a server ask, kill it after `after` acknowledged calls, and return all calls that it acknowledged."""
    ours, theirs = _processes.Pipe(duplex=False)
    server = _processes.Process(target=_ask, args=(home, theirs))
    server.start()
    theirs.close()
    acknowledged: set[tuple[str, str]] = set()
    with suppress(EOFError):
        ours.recv()  # the server is ready
        while len(acknowledged) < after:
            acknowledged.add(ours.recv())
        server.kill()
        while True:  # what it acknowledged before it died is still in the pipe
            acknowledged.add(ours.recv())
    server.join()
    return acknowledged


def _ask(home: Path, message: Connection) -> None:
    anyio.run(_ask_all, home, message)


async def _ask_all(home: Path, message: Connection) -> None:
    def acknowledge(event: Event) -> None:
        if isinstance(event, CallEnded):
            message.send((event.run_id, event.call_id))

    async with open_service({"MOA_MCP_HOME": str(home)}) as service:
        service.scheduler.subscribe(acknowledge)
        message.send("ready")
        async with anyio.create_task_group() as group:
            for question in QUESTIONS:
                group.start_soon(service.ask, AskRequest(question))


def _collect_in_process(home: Path, run_ids: list[str]) -> tuple[str, ...]:
    """The statuses of the runs after a new server has collected them."""
    ours, theirs = _processes.Pipe(duplex=False)
    server = _processes.Process(target=_collect, args=(home, run_ids, theirs))
    server.start()
    theirs.close()
    ends: tuple[str, ...] = ours.recv()
    server.join()
    return ends


def _collect(home: Path, run_ids: list[str], message: Connection) -> None:
    anyio.run(_collect_all, home, run_ids, message)


async def _collect_all(home: Path, run_ids: list[str], message: Connection) -> None:
    async with open_service({"MOA_MCP_HOME": str(home)}) as service:
        message.send(tuple([(await service.collect(run_id)).status for run_id in run_ids]))


def _is_corrupt(file: Path) -> bool:
    if not file.exists():
        return False
    db = sqlite3.connect(file)
    try:
        return bool(db.execute("PRAGMA integrity_check").fetchone() != ("ok",))
    except sqlite3.DatabaseError:
        return True
    finally:
        db.close()


def _journal(file: Path) -> tuple[dict[str, set[str]], tuple[str, ...]]:
    """The finished calls of each run, and the statuses of the runs, as a new server reads them."""
    if not file.exists():
        return {}, ()
    runs = anyio.run(_runs, file)
    return {run.run_id: {record.call.id for record in run.calls} for run in runs}, tuple(run.status for run in runs)


async def _runs(file: Path) -> list[Run]:
    store = SqliteStore(file)
    runs = list(await store.list("local"))
    await store.aclose()
    return runs


async def write_times(file: Path, drafts: int = 1000) -> list[float]:
    """The milliseconds that each of `drafts` drafts of 4 KB needs to reach the disk."""
    store = SqliteStore(file)
    plan = Preset.model_validate({"layers": 1, "aggregator": "lab/a"})
    await store.admit(
        Run("r", "p", plan, Task("Q?")), ReservationRequest("local", "r", Spend(), Spend(1_000, 1), None, until=0)
    )
    times: list[float] = []
    for number in range(drafts):
        call = ChatCall(f"1.{number}", "proposer", 1, number, "lab/a", ())
        started = time.perf_counter()
        await store.add_records("r", [CallRecord(call, Draft("x" * 4096), 1.0)])
        times.append((time.perf_counter() - started) * 1000)
    await store.aclose()
    return times


def main(kills: int = KILLS) -> None:
    """Kill `kills` servers, and print the figures."""
    dice = random.Random(5)
    with tempfile.TemporaryDirectory() as folder, upstream_process(delay_ms=1, jitter_ms=5) as upstream:
        homes = [Path(folder) / str(number) for number in range(kills)]
        left = [kill_once(home, upstream, dice.randrange(len(QUESTIONS) * CALLS)) for home in homes]
        times = anyio.run(write_times, Path(folder) / "times.db")
    facts = {
        "kills": kills,
        "corrupt_stores": sum(one.corrupt for one in left),
        "lost_acknowledged_drafts": sum(one.lost for one in left),
        "calls_paid_twice_on_resume": sum(one.paid_twice for one in left),
        "runs_interrupted": sum(one.states.count("interrupted") for one in left),
        "runs_completed_on_collect": sum(one.ends.count("completed") for one in left),
        "runs": sum(len(one.ends) for one in left),
        "write_draft_ms_p99": round(statistics.quantiles(times, n=100)[98], 2),
    }
    sys.stdout.write(json.dumps(facts) + "\n")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
