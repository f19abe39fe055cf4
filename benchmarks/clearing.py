"""Clear a full store while another server uses it, and measure how long that server waits. One line of JSON.

    python -m benchmarks.clearing [RUNS]

The store has RUNS runs of three drafts (45,000: about 190 MB), and is cleared to nine tenths of its size. Meanwhile
one process tries the write lock every millisecond, to measure how long it is held, and another admits runs as a server
does.
"""

from __future__ import annotations

import json
import multiprocessing
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Event
from pathlib import Path

import anyio

from moa_mcp.domain.model import CallRecord, ChatCall, Draft, Run, Task
from moa_mcp.domain.preset import Preset
from moa_mcp.domain.spend import Spend
from moa_mcp.store.base import AdmittedRun
from moa_mcp.store.codec import encode_record, encode_run
from moa_mcp.store.daily_budget import ReservationRequest
from moa_mcp.store.sqlite.store import SqliteStore

RUNS = 45_000
DRAFTS = 3
DRAFT_BYTES = 250
MB = 1024 * 1024

PLAN = Preset.model_validate({"layers": 2, "proposers": ["lab/a", "lab/b"], "aggregator": "lab/c"})

Probe = Callable[[Path, Event, Event], float]
"""Watches the store of a file: sets the first event when it has begun, ends at the second. Returns seconds."""

_processes = multiprocessing.get_context("spawn")


@dataclass(frozen=True, slots=True)
class Cleared:
    """How many runs were deleted, and how many seconds that took."""

    runs: int
    seconds: float


async def fill(file: Path, runs: int) -> None:
    """Write a store with `runs` completed runs, one every 30 seconds up to now."""
    await SqliteStore(file).aclose()
    now = time.time()
    body = encode_run(a_run("r", now))
    calls = [ChatCall(f"1.{slot}", "proposer", 1, slot, "lab/a", ()) for slot in range(DRAFTS)]
    records = [(call.id, encode_record(CallRecord(call, Draft("x" * DRAFT_BYTES), 1.0))) for call in calls]
    with closing(sqlite3.connect(file, isolation_level=None)) as db:
        db.execute("BEGIN")
        for number in range(runs):
            run_id, created_at = f"{number:032x}", now - (runs - number) * 30.0
            row = (run_id, "local", "completed", f"{number:064x}", created_at, "gone", body)
            db.execute(
                "INSERT INTO runs (run_id, owner, status, key, created_at, server, body) VALUES (?,?,?,?,?,?,?)", row
            )
            db.executemany(
                "INSERT INTO records (run_id, call_id, body) VALUES (?, ?, ?)", [(run_id, *each) for each in records]
            )
        db.execute("COMMIT")


def a_run(run_id: str, created_at: float) -> Run:
    """A completed run with an answer."""
    return Run(run_id, "p", PLAN, Task("Q?" * 100), status="completed", answer="x" * DRAFT_BYTES, created_at=created_at)


def longest(probe: Probe, file: Path) -> tuple[Callable[[], float], Event]:
    """Start `probe` in a new process. Return a function that stops it and returns its result, and its start event."""
    ready, over = _processes.Event(), _processes.Event()
    ours, theirs = _processes.Pipe(duplex=False)
    process = _processes.Process(target=_report, args=(probe, file, ready, over, theirs))
    process.start()

    def stop() -> float:
        over.set()
        seconds: float = ours.recv()
        process.join()
        return seconds

    return stop, ready


def _report(probe: Probe, file: Path, ready: Event, over: Event, pipe: Connection) -> None:
    pipe.send(probe(file, ready, over))


def lock_held(file: Path, ready: Event, over: Event) -> float:
    """The longest time, in seconds, for which the write lock was not free; tried every millisecond."""
    worst, since = 0.0, None
    with closing(sqlite3.connect(file, timeout=0, isolation_level=None)) as db:
        while not over.is_set():
            try:
                db.execute("BEGIN IMMEDIATE")
                db.execute("ROLLBACK")
                since = None
            except sqlite3.OperationalError:
                since = since or time.perf_counter()
                worst = max(worst, time.perf_counter() - since)
            ready.set()
            time.sleep(0.001)
    return worst


def admitting(file: Path, ready: Event, over: Event) -> float:
    """The longest time, in seconds, that a server waited to admit a run."""
    return anyio.run(_admit, file, ready, over)


async def _admit(file: Path, ready: Event, over: Event) -> float:
    store, worst, number = SqliteStore(file), 0.0, 0
    while not over.is_set():
        number += 1
        run = replace(a_run(f"new-{number}", time.time()), status="running", answer=None)
        started = time.perf_counter()
        try:
            admitted = await store.admit(
                run, ReservationRequest("local", run.run_id, Spend(), Spend(9, 9), None, until=0)
            )
            worst = max(worst, time.perf_counter() - started)
            assert isinstance(admitted, AdmittedRun)
            await store.finish(replace(run, status="completed"))
            await store.settle(admitted.reservation, Spend())
        except sqlite3.OperationalError as error:
            worst = max(worst, time.perf_counter() - started)
            sys.stderr.write(f"{error}\n")
        ready.set()
        await anyio.sleep(0.02)
    await store.aclose()
    return worst


async def clear(file: Path, max_mb: float) -> Cleared:
    """Clear the store to `max_mb` megabytes."""
    store = SqliteStore(file, max_mb=max_mb)
    started = time.perf_counter()
    deleted = await store.prune()
    seconds = time.perf_counter() - started
    await store.aclose()
    return Cleared(deleted, seconds)


def opening(file: Path) -> float:
    """How many seconds it takes to open the store."""
    started = time.perf_counter()
    store = SqliteStore(file)
    seconds = time.perf_counter() - started
    anyio.run(store.aclose)
    return seconds


def main(runs: int = RUNS) -> None:
    """Fill a store with `runs` runs, clear it, and print the figures."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "runs.db"
        anyio.run(fill, file, runs)
        megabytes = file.stat().st_size / MB
        opened = min(opening(file) for _ in range(3))
        lock, locked = longest(lock_held, file)
        admit, admitted = longest(admitting, file)
        for begun in (locked, admitted):
            begun.wait()
        cleared = anyio.run(clear, file, 0.9 * megabytes)
        facts = {
            "runs": runs,
            "megabytes": round(megabytes, 1),
            "open_ms": round(opened * 1000, 1),
            "runs_cleared": cleared.runs,
            "clearing_s": round(cleared.seconds, 1),
            "longest_write_lock_ms": round(lock() * 1000),
            "longest_admission_ms": round(admit() * 1000),
            "megabytes_after": round(file.stat().st_size / MB, 1),
        }
    sys.stdout.write(json.dumps(facts) + "\n")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
