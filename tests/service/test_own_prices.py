"""What config.yaml says of prices holds in a plan, in a list of presets and in a bill."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from moa_mcp.api import open_service
from moa_mcp.service.service import LOCAL, AskRequest, Service
from tests.upstream import Reply, Upstream

CONFIG = """\
default_preset: pair
limits: {{on_unknown_price: refuse}}
providers:
  lab: {{base_url: {url}, api_key_env: LAB_KEY, {more}}}
"""
PAIR = "proposers: [lab/owl]\naggregator: lab/gpt-4o\n"
PRICES = "prices: {owl: {input_mtok: 100, output_mtok: 200}, gpt-4o: {input_mtok: 300, output_mtok: 400}}"


@asynccontextmanager
async def lab(home: Path, more: str) -> AsyncGenerator[Service]:
    """A service whose provider `lab` needs a key, and answers as another model than it was asked for."""
    async with Upstream(lambda _: Reply("Blue.", model="hare", input_tokens=10, output_tokens=20)) as upstream:
        (home / "presets").mkdir()
        (home / "presets" / "pair.yaml").write_text(PAIR, encoding="utf-8")
        (home / "config.yaml").write_text(CONFIG.format(url=upstream.base_url, more=more), encoding="utf-8")
        async with open_service({"MOA_MCP_HOME": str(home), "LAB_KEY": "sk-lab-0123456789"}) as service:
            yield service


async def test_configured_prices_hold_for_the_plan_the_list_and_the_bill(tmp_path: Path) -> None:
    async with lab(tmp_path, PRICES) as service:
        plan = await service.plan(AskRequest("Why?"))
        entry = await service.catalog.entry("pair")
        run = await service.ask(AskRequest("Why?"))
        spent = await service.store.spent(LOCAL)

    owl, chief = plan.dry_run.planned_calls
    assert plan.cost_usd == pytest.approx(
        (owl.input_tokens * 100 + owl.output_tokens * 200 + chief.input_tokens * 300 + chief.output_tokens * 400) / 1e6
    )
    assert entry.estimated_cost_usd == pytest.approx(plan.cost_usd, rel=0.5)  # of a longer question
    assert run.cost_usd == spent.usd == pytest.approx(0.005 + 0.011)


@pytest.mark.parametrize("more", ["local: true", f"local: true, {PRICES}"])
async def test_a_local_server_with_a_key_is_free_in_the_plan_the_list_and_the_bill(tmp_path: Path, more: str) -> None:
    async with lab(tmp_path, more) as service:
        plan = await service.plan(AskRequest("Why?"))
        entry = await service.catalog.entry("pair")
        run = await service.ask(AskRequest("Why?"))
        spent = await service.store.spent(LOCAL)

    assert (plan.cost_usd, plan.notes, entry.estimated_cost_usd) == (0.0, (), 0.0)
    assert (run.cost_usd, run.unpriced_calls, spent.usd) == (0.0, 0, 0.0)
