"""What moa-mcp adds to the time its models take: one ask of 3 layers of 6, and a hundred at once.

Prints, for moa-mcp, for the same 13 calls as a plain fan-out with the `openai` SDK (extra `bench`) and for them on
bare sockets, all of 200 ms and streamed from the same loopback upstream: wall time over the critical path (one call
of each layer, as long as it takes on a bare socket), asks per second where a hundred come at once (and for the
first hundred, which opens the connections), their share of the ideal, how many times the SDK's they are, and the peak
resident megabytes. Medians of a few rounds, in each of which every client has its turn, in a process of its own: what
else the machine does meets all of them.

moa-mcp is measured with its store in memory (`store.enabled: false`), and as it is by default: a run on the disk waits
four times for a commit.
"""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any

import anyio
from anyio.abc import SocketStream

from benchmarks.upstream import ANSWER, connected, exchange, started, time_of

CALL_MS = 200
LAYERS = 3
ROUNDS = 5
SINGLE_ASKS = 5
MANY = 100
CROWDS = 3
QUESTION = "Which of the two proofs holds, and where does the other one break?"

PROPOSERS = [f"m{CALL_MS}-{number}" for number in range(1, 7)]
AGGREGATOR = f"m{CALL_MS}"

Ask = Callable[[int], Coroutine[Any, Any, object]]
Call = Callable[[str, str], Coroutine[Any, Any, str]]


async def critical_path(base_url: str) -> float:
    """Seconds that no client can be below: one call of each layer, one after another."""
    return await time_of(base_url, AGGREGATOR) * LAYERS


async def measure(ask: Ask, base_url: str) -> dict[str, float]:
    """Time single asks and crowds of them; `ask` is given a number that makes its question its own."""
    path = await critical_path(base_url)
    await ask(-1)
    singles = [await _timed(ask, number) for number in range(SINGLE_ASKS)]
    rates = [await _rate(ask, first=MANY * crowd) for crowd in range(1, CROWDS + 1)]
    rate = statistics.median(rates)
    return {
        "critical_path_s": round(path, 4),
        "over_critical_path": round(statistics.median(singles) / path, 4),
        "first_asks_per_second": round(rates[0], 1),
        "asks_per_second": round(rate, 1),
        "of_ideal": round(rate / (MANY / path), 3),
        "rss_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
    }


async def _rate(ask: Ask, first: int) -> float:
    """Asks per second of a crowd that comes at once."""
    began = time.perf_counter()
    async with anyio.create_task_group() as group:
        for number in range(MANY):
            group.start_soon(ask, first + number)
    return MANY / (time.perf_counter() - began)


async def _timed(ask: Ask, number: int) -> float:
    began = time.perf_counter()
    await ask(number)
    return time.perf_counter() - began


def _configure(home: Path, base_url: str, *, durable: bool) -> None:
    (home / "config.yaml").write_text(
        f'providers: {{lab: {{base_url: "{base_url}", max_concurrency: 1000}}}}\n'
        "limits: {max_concurrent_runs: 1000}\n"
        f"store: {{enabled: {json.dumps(durable)}}}\n",
        encoding="utf-8",
    )


async def moa(base_url: str, *, durable: bool) -> dict[str, float]:
    """The service as `moa-mcp serve` has it."""
    from moa_mcp.api import open_service
    from moa_mcp.cli.tune_gc import tune_gc
    from moa_mcp.domain.preset import Preset
    from moa_mcp.service.service import AskRequest

    preset = Preset.model_validate(
        {
            "name": "panel",
            "proposers": [f"lab/{model}" for model in PROPOSERS],
            "layers": LAYERS,
            "aggregator": f"lab/{AGGREGATOR}",
        }
    )
    with tempfile.TemporaryDirectory() as home:
        _configure(Path(home), base_url, durable=durable)
        tune_gc()
        async with open_service({"MOA_MCP_HOME": home}) as service:

            async def ask(number: int) -> None:
                run = await service.ask(AskRequest(f"{QUESTION} ({number})", preset=preset))
                assert run.calls_made == len(PROPOSERS) * (LAYERS - 1) + 1, run.notes

            return await measure(ask, base_url)


async def sdk(base_url: str) -> dict[str, float]:
    """The same calls with the openai SDK."""
    from openai import AsyncOpenAI

    async with AsyncOpenAI(base_url=base_url, api_key="none", max_retries=0) as client:

        async def call(prompt: str, model: str) -> str:
            stream = await client.chat.completions.create(
                model=model, messages=[{"role": "user", "content": prompt}], stream=True
            )
            return "".join([chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices])

        return await measure(partial(fan_out, call), base_url)


async def bare(base_url: str) -> dict[str, float]:
    """The same calls with as little as can be: what the upstream and the machine allow."""
    idle: list[SocketStream] = []

    async def call(prompt: str, model: str) -> str:
        stream = idle.pop() if idle else await connected(base_url)
        reply = await exchange(stream, base_url, model, prompt)
        idle.append(stream)
        return reply[-len(ANSWER) :]  # as much to pass on as the others have, though none of it is read

    try:
        return await measure(partial(fan_out, call), base_url)
    finally:
        for stream in idle:
            await stream.aclose()


async def fan_out(call: Call, number: int) -> None:
    """The 13 calls of an ask, `call` given prompt and model, layer by layer, each reading the one before."""
    question = prompt = f"{QUESTION} ({number})"
    for _ in range(LAYERS - 1):
        drafts = await anyio.amap(partial(call, prompt), PROPOSERS)
        prompt = "\n\n".join((question, *drafts))
    assert await call(prompt, AGGREGATOR)


CLIENTS: dict[str, Callable[[str], Coroutine[Any, Any, dict[str, float]]]] = {
    "moa_in_memory": partial(moa, durable=False),
    "moa_on_disk": partial(moa, durable=True),
    "openai_sdk": sdk,
    "bare_sockets": bare,
}


def main() -> None:
    """Let the clients take turns against one upstream, and print the medians of what they measured."""
    with started() as base_url:
        rounds = [{name: _measured(name, base_url) for name in CLIENTS} for _ in range(ROUNDS)]
    found = {
        name: {key: statistics.median(one[name][key] for one in rounds) for key in rounds[0][name]} for name in CLIENTS
    }
    for one in found.values():
        one["times_the_sdk"] = round(one["asks_per_second"] / found["openai_sdk"]["asks_per_second"], 2)
    sys.stdout.write(json.dumps(found) + "\n")


def _measured(client: str, base_url: str) -> dict[str, float]:
    found: dict[str, float] = json.loads(
        subprocess.check_output([sys.executable, "-m", "benchmarks.overhead", client, base_url])
    )
    return found


if __name__ == "__main__":
    if len(sys.argv) == 3:
        sys.stdout.write(json.dumps(anyio.run(CLIENTS[sys.argv[1]], sys.argv[2])))
    else:
        main()
