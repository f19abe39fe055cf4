"""Every packaged preset runs end to end against a local server, and each does what it is for."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from moa_mcp.api import open_service
from moa_mcp.domain.endpoints import BUILTIN
from moa_mcp.domain.model import CodeCall, Failure, Run
from moa_mcp.presets.library import PresetLibrary
from moa_mcp.service.service import AskRequest, Service
from tests.upstream import Upstream
from tests.upstream.obliging import fill_forms

NAMES = PresetLibrary(None).names()
QUESTION = "Which of the two proofs holds, and where does the other one break?"
LOCAL_MODELS = ("llama3.2", "qwen3:8b", "gemma3:4b")


def write_config(base_url: str) -> None:
    """Every built-in provider but the demo is at the local server, without a key."""
    home = Path(os.environ["MOA_MCP_HOME"])
    home.mkdir(parents=True, exist_ok=True)
    entries = (
        f"  {name}: {{base_url: {base_url}, api_key_env: null, max_concurrency: 64}}\n"
        for name, endpoint in BUILTIN.items()
        if endpoint.dialect != "demo"
    )
    (home / "config.yaml").write_text(f"providers:\n{''.join(entries)}", encoding="utf-8")


@asynccontextmanager
async def served() -> AsyncGenerator[tuple[Service, Upstream]]:
    async with Upstream(fill_forms, models=LOCAL_MODELS) as upstream:
        write_config(upstream.base_url)
        async with open_service() as service:
            yield service, upstream


async def asked(service: Service, name: str) -> Run:
    with anyio.fail_after(60):
        return await service.ask(AskRequest(QUESTION, preset=name))


@pytest.mark.parametrize("name", NAMES)
async def test_a_packaged_preset_answers_within_its_bounds_and_nothing_fails(name: str) -> None:
    async with served() as (service, upstream):
        preset, _ = await service.catalog.resolve(name)
        run = await asked(service, name)

        bounds = service.catalog.bounds(preset)
        wire = 0 if name == "demo" else run.calls_made
        assert len([one for one in upstream.requests if one.method == "POST"]) == wire
    assert (run.status, run.degraded) == ("completed", False), (run.error, run.notes)
    assert run.answer
    assert not any(isinstance(record.outcome, Failure) for record in (*run.calls, *run.panels)), run.notes
    assert bounds.least_calls <= run.calls_made <= bounds.most_calls
    assert not [record.call.id for record in run.calls if record.call.id.endswith(".again")]


@pytest.mark.parametrize("name", NAMES)
def test_a_packaged_preset_says_what_it_is_and_when_it_pays(name: str) -> None:
    preset = PresetLibrary(None).get(name)

    assert preset.title
    assert name in {"auto", "demo", "local"} or "pays" in preset.description


async def test_forge_uses_all_three_strategies_and_its_program_is_run() -> None:
    async with served() as (service, upstream):
        run = await asked(service, "forge")

        last = upstream.requests[-1].prompt
    assert "Draft 2: its result, 2, was computed by a program that was run, with steps that a model emulated." in last
    assert "<response 3 " in last
    assert {record.call.role for record in run.calls} >= {"programmer", "sandbox", "emulator", "refiner", "judge"}
    assert run.calls_made == len(run.calls) - sum(isinstance(record.call, CodeCall) for record in run.calls)
