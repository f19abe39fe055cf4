"""A server under load for long: 3,000 asks, a fifth of them with faults, a tenth given up by their clients.

    python -m benchmarks.soak [--asks N]

The server is a real `moa-mcp serve --transport http` with its own home; the upstream is another process; both are on
loopback. Eight clients ask concurrently, each one question after another. Half of them use protocol 2026-07-28, and
cancel by closing the stream of the answer; half use sessions, and cancel with a notification. The asks come in three
thirds. After each third the benchmark waits until the server is idle, and measures it. Before the first third each
client asks once, because the first ask imports modules, which is not a leak; these asks count only in `requests` and
`runs`. The seed is fixed: the same `N` makes the same asks, with the same faults in the same places (soak_models.py).

Prints one line of JSON:

- `asks`: the asks made; how many of them `completed`, `failed_as_expected` (all proposers were faulty), and were
  `dropped` by their client. `unexpected` counts all others, and tracebacks in the server's log; it must be 0.
  `unexpected_first` lists the first few.
- `faulty_requests`: the requests that reached a model that answers with a fault; `requests`: all requests to models.
- `runs`: the runs in the store after the server's end, by status. None may be `running`.
- `at_start`, `after_1_third`, `after_2_thirds`, `at_end`: the idle server: resident megabytes (`rss_mb`, and the peak
  so far), file descriptors, threads, CPU seconds so far; null with `why_null` without /proc.
- `upstream_in_flight_at_end`: requests to models that are unfinished after the last ask; it must be 0.
  `upstream_connections_at_end`: open connections, which the server keeps for the next call.
- `latency_ms`: p50 and p99 of undisturbed asks in the first and the last third, and `drift`, last divided by first.
- `store_kb`: the size of the store after the server's end; `store_kb_per_ask`.
- `seconds`: the wall time of all asks. After half an hour no new ask is made, so `asks` may be less than `N`.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
from mcp import Client

from benchmarks.processes import Figures, ServerProcess, footprint, server_process
from benchmarks.soak_models import WELL, Expected, Plan, fault_of, plans, write_home
from moa_mcp.service.service import LOCAL
from moa_mcp.store.sqlite.store import SqliteStore
from tests.upstream import UpstreamProcess, upstream_process

ASKS = 3_000
CLIENTS = 8
LONGEST_ASK = 60.0
"""Seconds after which the client gives up an ask. Such an ask counts as unexpected."""

LONGEST = 1800.0
"""Seconds after which no new ask is made."""

LOOKS = 200
EACH = 0.05
"""How often the benchmark checks whether the requests of dropped asks are closed, and the seconds between checks."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of an ask, expected or not, and its duration in milliseconds."""

    plan: Plan
    came: Expected | str
    ms: float

    @property
    def is_expected(self) -> bool:
        return self.came == self.plan.expected


@dataclass(slots=True)
class Soak:
    """A running soak: its outcomes by third, and the figures of the idle server between the thirds."""

    server: ServerProcess
    upstream: UpstreamProcess
    thirds: list[list[Outcome]] = field(default_factory=list[list[Outcome]])
    rests: list[Figures] = field(default_factory=list[Figures])
    began: float = field(default_factory=time.perf_counter)

    async def run(self, wanted: Sequence[Plan]) -> None:
        """Make all asks, and measure the server after each third."""
        third = math.ceil(len(wanted) / 3)
        async with connected(self.server.url) as clients:
            await self.asked(clients, [WELL] * CLIENTS, -CLIENTS)
            self.began = time.perf_counter()
            await self.rest()
            for first in range(0, len(wanted), third):
                self.thirds.append(await self.asked(clients, wanted[first : first + third], first))
                await self.rest()

    async def asked(self, clients: Sequence[Client], wanted: Sequence[Plan], first: int) -> list[Outcome]:
        """Let the clients make these asks concurrently. `first` is the number of the first ask."""
        left = enumerate(wanted, first)
        outcomes: list[Outcome] = []

        async def one_after_another(client: Client) -> None:
            for number, plan in left:  # all clients take their asks from this one iterator
                if time.perf_counter() - self.began > LONGEST:
                    return
                outcomes.append(await ask(client, number, plan))

        async with anyio.create_task_group() as tasks:
            for client in clients:
                tasks.start_soon(one_after_another, client)
        return outcomes

    async def rest(self) -> None:
        """Wait until no request to a model is open, 10 seconds at most, and measure the server."""
        for _ in range(LOOKS):
            if not (await self.ledger())["open"]:
                break
            await anyio.sleep(EACH)
        self.rests.append(footprint(self.server.pid))

    async def ledger(self) -> dict[str, Any]:
        """The counters of the upstream."""
        return await anyio.to_thread.run_sync(self.upstream.ledger)


@asynccontextmanager
async def connected(url: str) -> AsyncGenerator[list[Client]]:
    """Yield the clients; they alternate between the two eras of the protocol."""
    async with AsyncExitStack() as stack:
        modes = ["auto" if number % 2 else "legacy" for number in range(CLIENTS)]
        yield [await stack.enter_async_context(Client(url, mode=mode)) for mode in modes]


async def ask(client: Client, number: int, plan: Plan) -> Outcome:
    """Make one ask, and cancel it after the time that its plan sets, if any."""
    arguments = {"question": f"What is it? (ask {number})", "preset": plan.preset, "fresh": True, "wait_seconds": 600}
    came = "dropped" if plan.leaves_after is not None else f"no answer within {LONGEST_ASK:g} s"
    began = time.perf_counter()
    try:
        with anyio.move_on_after(LONGEST_ASK if plan.leaves_after is None else plan.leaves_after):
            came = _classify(plan, await client.call_tool("moa_ask", arguments))
    except Exception as error:  # any error counts as an unexpected outcome
        came = f"{type(error).__name__}: {error}"
    return Outcome(plan, came, (time.perf_counter() - began) * 1000)


def _classify(plan: Plan, result: Any) -> Expected | str:
    facts: dict[str, Any] = result.structured_content or {}
    match facts.get("status"):
        case "failed" if result.is_error:
            return "failed"
        case "completed" if facts["answer"] and not (plan.is_plain and facts["degraded"]):
            return "completed"
        case status:
            message = " ".join(getattr(block, "text", "") for block in result.content)
            return f"{status}: {message[:300]}"


def report(soak: Soak, seen: dict[str, Any]) -> dict[str, object]:
    """The figures that need the running server. `seen` is the upstream's ledger."""
    outcomes = [outcome for third in soak.thirds for outcome in third]
    expected = Counter(outcome.came for outcome in outcomes if outcome.is_expected)
    strange = [f"{outcome.plan.preset}: {outcome.came}" for outcome in outcomes if not outcome.is_expected]
    tracebacks = soak.server.tracebacks
    start, *between, end = soak.rests
    return {
        "asks": len(outcomes),
        "completed": expected["completed"],
        "failed_as_expected": expected["failed"],
        "dropped": expected["dropped"],
        "unexpected": len(strange) + tracebacks,
        "unexpected_first": [*strange[:5], *([f"{tracebacks} tracebacks in the log"] if tracebacks else [])],
        "requests": seen["requests"],
        "faulty_requests": sum(count for model, count in seen["per_model"].items() if fault_of(model)),
        "at_start": start,
        **dict(zip(("after_1_third", "after_2_thirds"), between, strict=False)),
        "at_end": end,
        "upstream_in_flight_at_end": seen["open"],
        "upstream_connections_at_end": seen["accepted"] - seen["closed"],
        "latency_ms": latency(soak.thirds[0], soak.thirds[-1]),
    }


def latency(first: Sequence[Outcome], last: Sequence[Outcome]) -> dict[str, object]:
    """The milliseconds of undisturbed asks in the first and the last third, and the ratio of last to first."""
    found = [
        [
            percentile([outcome.ms for outcome in third if outcome.plan.is_plain and outcome.is_expected], share)
            for share in (0.5, 0.99)
        ]
        for third in (first, last)
    ]
    drift = [round(after / before, 2) if before and after else None for before, after in zip(*found, strict=True)]
    names = ("first_third", "last_third", "drift")
    return {name: {"p50": p50, "p99": p99} for name, (p50, p99) in zip(names, (*found, drift), strict=True)}


def percentile(values: Sequence[float], share: float) -> float | None:
    """The smallest value that `share` of all values do not exceed; None if there are no values."""
    return round(sorted(values)[math.ceil(share * len(values)) - 1], 1) if values else None


def stored(home: Path, asks: int) -> dict[str, object]:
    """The contents of the store after the server ended: runs by status, and kilobytes."""
    size = sum(file.stat().st_size for file in home.glob("runs.db*")) / 1024
    statuses = anyio.run(_statuses, home / "runs.db", asks + CLIENTS)
    return {"runs": statuses, "store_kb": round(size), "store_kb_per_ask": round(size / asks, 2)}


async def _statuses(file: Path, asks: int) -> dict[str, int]:
    store = SqliteStore(file)
    try:
        return dict(Counter(run.status for run in await store.list(LOCAL, limit=asks)))
    finally:
        await store.aclose()


def measure(asks: int = ASKS) -> dict[str, object]:
    """Make `asks` asks, and return the figures that the module docstring explains."""
    with (
        tempfile.TemporaryDirectory() as folder,
        upstream_process("benchmarks.soak_models:answer") as upstream,
    ):
        home = Path(folder)
        write_home(home, upstream.base_url)
        with server_process(home) as server:
            soak = Soak(server, upstream)
            anyio.run(soak.run, plans(asks))
            seconds = time.perf_counter() - soak.began
            found = report(soak, upstream.ledger())
        return {**found, **stored(home, asks), "seconds": round(seconds, 1)}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print one line of JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--asks", type=int, default=ASKS, help="how many, 3 at least")
    asks: int = parser.parse_args(arguments).asks
    if asks < 3:
        parser.error("--asks needs 3 at least, one for each third.")
    sys.stdout.write(json.dumps(measure(asks)) + "\n")


if __name__ == "__main__":
    main()
