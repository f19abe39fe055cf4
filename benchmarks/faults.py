"""What faults cost: 500 runs over real sockets, each with random faults in random slots, in one process.

Prints how many runs got an answer, ended in time and stayed within their retries, and what they left open. One slot
of each layer and the last fallback have no fault, so every run can get an answer. The random numbers have a fixed
seed, so each execution has the same faults.
"""

from __future__ import annotations

import gc
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from pathlib import Path

import anyio

from moa_mcp.domain.endpoints import Endpoint
from moa_mcp.domain.model import Run, Task
from moa_mcp.domain.preset import Limits, Preset
from moa_mcp.domain.spend import Spend
from moa_mcp.providers.prices import FREE
from moa_mcp.providers.registry import Registry
from moa_mcp.providers.run_provider import RunProviderFactory
from moa_mcp.providers.wrappers.retrying import RetryBudget
from moa_mcp.providers.wrappers.timeouts import TimeoutSettings
from moa_mcp.runs.live_run import LiveRun
from moa_mcp.runs.scheduler import RunScheduler, open_scheduler
from moa_mcp.store.daily_budget import ReservationRequest
from moa_mcp.store.memory import MemoryStore
from tests.upstream import Fault, Reply, Request, Upstream
from tests.upstream.scripts import Answer

RUNS = 500
SIDE_BY_SIDE = 8
PROPOSERS = 4
LAYERS = 3
PLANNED = PROPOSERS * (LAYERS - 1) + 1
AMPLE = Spend(calls=1_000, tokens=10_000_000)
DEADLINE = 4.0
SEED = 20_261_121

PATIENCE = TimeoutSettings(first=0.3, first_thinking=0.3, idle=0.2, total=0.6)

GOOD = Reply("A draft that says what there is to say, sentence by sentence, to its very end. " * 4, pieces=8)

FAULTS: tuple[Answer, ...] = (
    *(Fault.status(status) for status in (400, 401, 402, 403, 404, 408, 409, 413, 422, 500, 502, 503, 504, 529)),
    Fault.status(429, headers={"retry-after-ms": "20"}),
    Fault.status(429, headers={"retry-after": "3600"}),
    Fault.status(429, code="insufficient_quota"),
    Fault.redirect("http://127.0.0.1:9/"),
    Fault.html(),
    Fault.empty_body(),
    Fault.error_in_body(500),
    Fault.error_event(0),
    Fault.error_event(3, reply=GOOD),
    Fault.malformed_event(2, GOOD),
    Fault.no_choices(),
    Fault.reset(),
    Fault.reset(3, GOOD),
    Fault.close(),
    Fault.close(7, GOOD),
    Fault.close_mid_chunk(3, GOOD),
    Fault.cut(7, GOOD),
    Fault.wrong_content_length(reply=GOOD),
    Fault.hang(),
    Fault.hang(3, GOOD),
    Fault.hang(7, GOOD),
    Fault.drip_comments(0.02),
    Fault.drip_headers(0.02),
    Fault.endless_tokens(text="and so on, " * 2000),
    Fault.endless_line(),
    Fault.gzip_bomb(16),
    Fault.without_end(GOOD),
    Fault.without_finish(GOOD),
    Fault.no_usage(GOOD),
    Fault.absurd_usage(reply=GOOD),
    Fault.tool_calls(GOOD),
    Reply(""),
    Reply("", thinking="hm"),
    Reply("", refusal="No.", finish_reason="content_filter"),
)


@dataclass(frozen=True, slots=True)
class Ended:
    """A run that ended, with its duration in seconds and its number of requests."""

    run: Run
    seconds: float
    requests: int

    @property
    def answered(self) -> bool:
        return self.run.status == "completed" and bool(self.run.answer)

    @property
    def in_time(self) -> bool:
        return self.seconds <= DEADLINE + 1

    @property
    def within_retries(self) -> bool:
        limit = PLANNED + 1 + RetryBudget.for_plan(PLANNED).left  # the call of the fallback is not a retry
        return self.requests <= limit


def faults_of(dice: random.Random) -> dict[str, Answer]:
    """The faults of one run, by slot. At least one proposer and the fallback have no fault."""
    healthy = dice.randrange(PROPOSERS)
    slots = [f"p{slot}" for slot in range(PROPOSERS) if slot != healthy]
    chosen = [slot for slot in (*slots, "chief") if dice.random() < 0.5]
    return {slot: dice.choice(FAULTS) for slot in chosen}


def panel(number: int) -> Preset:
    """A panel whose models no other run uses, so that no circuit breaker is open because of another run."""
    named = [f"lab/r{number}-p{slot}" for slot in range(PROPOSERS)]
    chief = {"model": f"lab/r{number}-chief", "fallbacks": [f"lab/r{number}-deputy"]}
    return Preset.model_validate({"proposers": named, "layers": LAYERS, "aggregator": chief})


async def one(scheduler: RunScheduler, number: int, asked: Counter[int]) -> Ended:
    """Do one run."""
    preset, limits = panel(number), Limits(deadline_seconds=DEADLINE)
    task = Task(f"Question {number}: why is the sky blue?", seed=number)
    run = Run(f"run{number}", "panel", preset, task, limits=limits, planned_calls=PLANNED)
    began = time.monotonic()
    live = await scheduler.start(run, ReservationRequest(run.owner, run.run_id, Spend(), AMPLE, None, until=inf))
    assert isinstance(live, LiveRun)
    ended = await scheduler.wait(live, None)
    return Ended(ended, time.monotonic() - began, asked[number])


async def all_runs(base_url: str, asked: Counter[int]) -> list[Ended]:
    """Do all runs, `SIDE_BY_SIDE` at a time."""
    registry = Registry({"lab": Endpoint("lab", base_url, local=True, max_concurrency=1000)}, {}, PATIENCE)
    dice = random.Random(SEED)
    provider_for = RunProviderFactory(registry, lambda _: FREE, lambda: dice.random() / 10)
    turns = anyio.CapacityLimiter(SIDE_BY_SIDE)

    async def in_turn(number: int) -> Ended:
        async with turns:
            return await one(scheduler, number, asked)

    try:
        async with open_scheduler(provider_for, MemoryStore(), SIDE_BY_SIDE) as scheduler:
            return await anyio.amap(in_turn, range(RUNS))
    finally:
        await registry.aclose()


def open_files() -> int:
    """How many files and sockets this process has open."""
    gc.collect()
    files = Path("/proc/self/fd")
    return sum(1 for _ in files.iterdir()) if files.exists() else 0


async def measure() -> dict[str, object]:
    """Do all runs, and count the sockets, tasks and files that they left open."""
    dice = random.Random(SEED)
    plans = [faults_of(dice) for _ in range(RUNS)]
    asked: Counter[int] = Counter()

    def script(request: Request) -> Answer:
        run, _, slot = request.model.removeprefix("r").partition("-")
        asked[int(run)] += 1
        return plans[int(run)].get(slot, GOOD)

    async with Upstream(script) as upstream:
        tasks, files = len(anyio.get_running_tasks()), open_files()
        began = time.monotonic()
        ended = await all_runs(upstream.base_url, asked)
        seconds = time.monotonic() - began
        with anyio.move_on_after(5):
            await upstream.until_closed()
        left = {
            "sockets": upstream.ledger.accepted - upstream.ledger.closed,
            "tasks": len(anyio.get_running_tasks()) - tasks,
            "files": open_files() - files,
        }
    return {**summary(ended), "left_open": left, "requests": sum(asked.values()), "seconds": round(seconds, 1)}


def summary(ended: Sequence[Ended]) -> dict[str, object]:
    """The percentages of runs that were answered, in time, and within their retries."""
    return {
        "runs": len(ended),
        "answered_percent": _percent([one.answered for one in ended]),
        "in_time_percent": _percent([one.in_time for one in ended]),
        "within_retries_percent": _percent([one.within_retries for one in ended]),
        "degraded": sum(one.run.degraded for one in ended),
        "slowest_seconds": round(max(one.seconds for one in ended), 2),
    }


def _percent(kept: Sequence[bool]) -> float:
    return round(100 * sum(kept) / len(kept), 2)


def main() -> None:
    """Measure and print one line of JSON."""
    sys.stdout.write(json.dumps(anyio.run(measure)) + "\n")


if __name__ == "__main__":
    main()
