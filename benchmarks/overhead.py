"""What moa-mcp adds to the time its models take: one ask of 3 layers of 6, and a hundred at once.

Measures moa-mcp, the same 13 calls as a plain fan-out with the `openai` SDK (extra `bench`), and the same calls on bare
sockets. Each call takes 200 ms and is streamed from the same loopback upstream. Prints for each: the wall time divided
by the critical path (one call of each layer, timed on a bare socket); the asks per second when a hundred arrive at
once (and for the first hundred, which opens the connections), also as a share of the ideal and as a multiple of the
SDK's; and the peak resident megabytes. The figures are medians of a few rounds. In each round every client is measured
once, in its own process, so that other work of the machine affects all of them equally.

moa-mcp is measured with its store in memory (`store.enabled: false`), and with the default store: a run on the disk
waits for four commits.
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
    """The least seconds that any client needs: one call of each layer, one after another."""
    return await time_of(base_url, AGGREGATOR) * LAYERS


async def measure(ask: Ask, base_url: str) -> dict[str, float]:
    """Time single asks and crowds of asks. `ask` gets a number that makes its question unique."""
    path = await critical_path(base_url)
    await ask(-1)
    singles = [await _time(ask, number) for number in range(SINGLE_ASKS)]
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
    """Asks per second when `MANY` asks start at once."""
    began = time.perf_counter()
    async with anyio.create_task_group() as group:
        for number in range(MANY):
            group.start_soon(ask, first + number)
    return MANY / (time.perf_counter() - began)


async def _time(ask: Ask, number: int) -> float:
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
    """Measure the service as `moa-mcp serve` runs it."""
    from moa_mcp.api import open_service
    from moa_mcp.cli.commands.serve import tune_gc
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
    """Measure the same calls with the openai SDK."""
    from openai import AsyncOpenAI

    async with AsyncOpenAI(base_url=base_url, api_key="none", max_retries=0) as client:

        async def call(prompt: str, model: str) -> str:
            stream = await client.chat.completions.create(
                model=model, messages=[{"role": "user", "content": prompt}], stream=True
            )
            return "".join([chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices])

        return await measure(partial(fan_out, call), base_url)


async def bare(base_url: str) -> dict[str, float]:
    """Measure the same calls on bare sockets: the best that the upstream and the machine allow."""
    idle: list[SocketStream] = []

    async def call(prompt: str, model: str) -> str:
        stream = idle.pop() if idle else await connected(base_url)
        reply = await exchange(stream, base_url, model, prompt)
        idle.append(stream)
        return reply[-len(ANSWER) :]  # text of the same length as the other clients pass on; it is not parsed

    try:
        return await measure(partial(fan_out, call), base_url)
    finally:
        for stream in idle:
            await stream.aclose()


async def fan_out(call: Call, number: int) -> None:
    """Make the 13 calls of an ask, layer by layer; each layer gets the drafts of the layer before it."""
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
    """Measure all clients in turn against one upstream, and print the medians."""
    with started() as base_url:
        rounds = [{name: _measure_in_process(name, base_url) for name in CLIENTS} for _ in range(ROUNDS)]
    found = {
        name: {key: statistics.median(one[name][key] for one in rounds) for key in rounds[0][name]} for name in CLIENTS
    }
    for one in found.values():
        one["times_the_sdk"] = round(one["asks_per_second"] / found["openai_sdk"]["asks_per_second"], 2)
    sys.stdout.write(json.dumps(found) + "\n")


def _measure_in_process(client: str, base_url: str) -> dict[str, float]:
    found: dict[str, float] = json.loads(
        subprocess.check_output([sys.executable, "-m", "benchmarks.overhead", client, base_url])
    )
    return found


if __name__ == "__main__":
    if len(sys.argv) == 3:
        sys.stdout.write(json.dumps(anyio.run(CLIENTS[sys.argv[1]], sys.argv[2])))
    else:
        main()
