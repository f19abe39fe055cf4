"""Providers are asked for their models side by side, and one that does not answer costs the others no time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import anyio
import pytest

from moa_mcp.domain.endpoints import Endpoint
from moa_mcp.providers.registry import Registry
from moa_mcp.service.model_lists import list_models
from tests.upstream import Fault, Upstream


async def test_a_provider_that_hangs_is_left_behind_after_its_time() -> None:
    async with Upstream(models=Fault.hang()) as slow, Upstream(models=("small",)) as fast:
        registry = Registry({"slow": Endpoint("slow", slow.base_url), "fast": Endpoint("fast", fast.base_url)}, {})
        with anyio.fail_after(10):
            await registry.served_models("fast")  # loads httpx, which is slow
            lists = await list_models(registry, ["slow", "fast"], 1)
        await registry.aclose()

    assert [(each.provider, [model.model for model in each.models]) for each in lists] == [
        ("slow", []),
        ("fast", ["fast/small"]),
    ]
    assert "no list of models within 1 s" in (lists[0].problem or "")


@pytest.mark.parametrize(
    ("pages", "window"),
    [({"/props": {"default_generation_settings": {"n_ctx": 4096}}}, 4096), ({}, 131072), ({"/props": []}, 131072)],
)
async def test_the_window_that_llama_cpp_was_started_with_counts_more_than_the_trained_one(
    pages: Mapping[str, Any], window: int
) -> None:
    models = {"m.gguf": {"owned_by": "llamacpp", "meta": {"n_ctx_train": 131072}}}
    async with Upstream(models=models, pages=pages) as upstream:
        registry = Registry({"box": Endpoint("box", upstream.base_url, local=True)}, {})
        (found,) = await list_models(registry, ["box"])
        await registry.aclose()

    assert [model.window for model in found.models] == [window]
