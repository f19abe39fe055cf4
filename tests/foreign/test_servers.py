"""Model servers of others, as users run them: a panel, its usage, a cancel, an overflow, an error."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import ExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

from moa_mcp import Preset, Run
from moa_mcp.api import open_service
from moa_mcp.domain.model import Call
from moa_mcp.service.service import AskRequest, Service
from moa_mcp.testing.scripted import ScriptedProvider
from tests.foreign import servers
from tests.foreign.servers import LITELLM_KEY, ModelServer

pytestmark = [pytest.mark.foreign, pytest.mark.anyio]

QUESTION = "Why is the sky blue? One sentence."
LONG_DRAFT = "The sky is blue because air scatters short waves of light more than long ones. " * 40
"""About 700 tokens: three of them and a question are more than the window of llama.cpp here."""

TOO_LONG = "exceed the context"


def _llama_cpp(started: Callable[..., str], *, dialect: str = "openai") -> ModelServer:
    url = started(servers.llama_cpp)
    busy = partial(servers.is_generating, url)
    # It ignores the model's name.
    return ModelServer(f"{url}/v1", "smol", dialect=dialect, narrow="smol", is_busy=busy)


def _litellm(started: Callable[..., str]) -> ModelServer:
    llama = started(servers.llama_cpp)
    url = started(servers.litellm, llama)
    busy = partial(servers.is_generating, llama)
    return ModelServer(f"{url}/v1", "smol", key=LITELLM_KEY, narrow="smol", unknown="does not know", is_busy=busy)


def _aimock(started: Callable[..., str]) -> ModelServer:
    url = started(servers.aimock)
    return ModelServer(f"{url}/v1", "claude", dialect="anthropic", narrow="narrow", unknown="does not know")


def _transformers(started: Callable[..., str]) -> ModelServer:
    url = started(servers.transformers)
    return ModelServer(f"{url}/v1", f"{os.environ[servers.TRANSFORMERS]}/model", unknown="nobody")


SERVERS: dict[str, Callable[[Callable[..., str]], ModelServer]] = {
    "llama.cpp": _llama_cpp,
    "llama.cpp, anthropic": partial(_llama_cpp, dialect="anthropic"),
    "litellm": _litellm,
    "aimock": _aimock,
    "transformers": _transformers,
}


@pytest.fixture(scope="session")
def started(tmp_path_factory: pytest.TempPathFactory) -> Generator[Callable[..., str]]:
    """Starts a server at its first use, until the end of the session."""
    with ExitStack() as stack:
        running: dict[Any, str] = {}

        def start(server: Callable[..., Any], *arguments: str) -> str:
            if server not in running:
                running[server] = stack.enter_context(server(tmp_path_factory.mktemp(server.__name__), *arguments))
            return running[server]

        yield start


@pytest.fixture(scope="session", params=SERVERS)
def server(request: pytest.FixtureRequest, started: Callable[..., str]) -> ModelServer:
    """One of the servers. Made before a test loses the variables of a proxy, which an installation may need."""
    return SERVERS[request.param](started)


@asynccontextmanager
async def asking(server: ModelServer) -> AsyncGenerator[Service]:
    """The service of someone who has declared this server as the provider `lab`; `own` writes long drafts."""
    home = Path(os.environ["MOA_MCP_HOME"])
    home.mkdir(exist_ok=True)
    lab = {"base_url": server.base_url, "dialect": server.dialect} | ({"api_key_env": "LAB_KEY"} if server.key else {})
    (home / "config.yaml").write_text(json.dumps({"providers": {"lab": lab}}), encoding="utf-8")
    environ = {"MOA_MCP_HOME": str(home)} | ({"LAB_KEY": server.key} if server.key else {})
    async with open_service(environ, providers={"own": ScriptedProvider(_long_draft)}) as service:
        yield service


def _long_draft(call: Call) -> str:
    return f"As writer {call.slot} sees it: {LONG_DRAFT}"


def panel(model: str, *proposers: str, max_tokens: int = 40) -> Preset:
    slot = {"model": f"lab/{model}", "max_tokens": max_tokens}
    return Preset(proposers=proposers or [slot, slot], aggregator=slot, layers=2)


async def test_a_panel_answers_and_knows_what_it_used(server: ModelServer) -> None:
    async with asking(server) as service:
        run = await service.ask(AskRequest(QUESTION, preset=panel(server.model)))

    assert run.answer, run.error
    assert [record.status for record in run.calls] == ["ok"] * 3, texts_of(run)
    for record in run.calls:
        usage = record.outcome.usage
        assert usage.input_tokens, usage
        assert usage.output_tokens, usage
        assert not usage.estimated
        assert usage.attempts == 1


async def test_a_cancelled_call_stops_generating(server: ModelServer) -> None:
    if (is_busy := server.is_busy) is None:
        pytest.skip("this server does not say whether it generates")

    async def until(*, busy: bool) -> None:
        while await anyio.to_thread.run_sync(is_busy) != busy:
            pass

    async with asking(server) as service:
        with anyio.fail_after(30):
            await until(busy=False)
            async with anyio.create_task_group() as group:
                request = AskRequest("Tell a story of a thousand words.", preset=panel(server.model, max_tokens=1500))
                group.start_soon(service.ask, request)
                await until(busy=True)
                group.cancel_scope.cancel()
            await until(busy=False)


async def test_drafts_that_overflow_the_window_are_shortened_until_they_fit(server: ModelServer) -> None:
    if server.narrow is None:
        pytest.skip("this server has no small window")
    async with asking(server) as service:
        preset = panel(server.narrow, "own/one", "own/two", "own/three")
        run = await service.ask(AskRequest(QUESTION, preset=preset))

    *_, aggregated = run.calls
    assert aggregated.status == "ok", texts_of(run)
    assert any("shortened" in note for note in run.notes), run.notes


async def test_an_error_is_understood(server: ModelServer) -> None:
    """The model's name is wrong where the server checks it; else the question alone is too long."""
    question = QUESTION if server.unknown else LONG_DRAFT * 4
    async with asking(server) as service:
        run = await service.ask(AskRequest(question, preset=panel("nobody" if server.unknown else server.model)))

    assert run.status == "failed"
    assert run.error is not None
    assert (server.unknown or TOO_LONG) in run.error


def texts_of(run: Run) -> list[str | None]:
    return [record.error for record in run.calls]
