"""Providers are asked for their models side by side, and one that does not answer costs the others no time."""

from __future__ import annotations

import anyio

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
