"""What limits a run whose costs come to light late: hidden thoughts, and models without a known price."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from moa_mcp.api import open_service
from moa_mcp.domain.errors import PlanRefused
from moa_mcp.domain.model import Run
from moa_mcp.domain.preset import Limits, Preset
from moa_mcp.domain.usage import Usage
from moa_mcp.providers.prices import Rates
from moa_mcp.service.service import AskRequest
from tests.faults.fixtures import failure_of, open_lab, panel, record_of
from tests.upstream import Reply, Upstream

THOUGHT_APART = {
    "prompt_tokens": 32,
    "completion_tokens": 9,
    "completion_tokens_details": {"reasoning_tokens": 9400},
    "total_tokens": 9441,
}
"""The usage of a call to xai/grok-4, which costs $0.14."""

REPORTED = {"prompt_tokens": 32, "completion_tokens": 9, "total_tokens": 41, "cost": 0.1234}


@asynccontextmanager
async def asked(
    folder: Path,
    provider: str,
    model: str,
    reply: Reply,
    limits: str,
    preset_limits: Limits | None = None,
    *,
    samples: int = 1,
    layers: int = 4,
) -> AsyncGenerator[tuple[Run, Upstream]]:
    """Ask a panel of one model, by default four calls one after another, with the limits of config.yaml."""
    async with Upstream(lambda _: reply) as upstream:
        config = f"providers: {{{provider}: {{base_url: '{upstream.base_url}', api_key_env: LAB_KEY}}}}\n"
        (folder / "config.yaml").write_text(f"{config}limits: {{{limits}}}\n", encoding="utf-8")
        chain = Preset(
            proposers=[{"model": f"{provider}/{model}", "samples": samples}],
            layers=layers,
            aggregator=f"{provider}/{model}",
            limits=preset_limits or Limits(),
        )
        async with open_service({"MOA_MCP_HOME": str(folder), "LAB_KEY": "sk-lab-secret"}) as service:
            yield await service.ask(AskRequest("Why is the sky blue?", preset=chain)), upstream


async def test_a_ceiling_in_dollars_holds_with_thoughts_that_are_counted_apart(tmp_path: Path) -> None:
    async with asked(tmp_path, "xai", "grok-4", Reply(usage_report=THOUGHT_APART), "max_cost_usd: 0.15") as (
        run,
        upstream,
    ):
        assert run.known_cost_usd == pytest.approx(0.141231)
        assert len(upstream.requests) == 1
        assert [record.status for record in run.calls[1:]] == ["refused"] * (len(run.calls) - 1)


async def test_calls_side_by_side_stop_once_the_first_of_them_thought_too_much(tmp_path: Path) -> None:
    async with asked(
        tmp_path,
        "xai",
        "grok-4",
        Reply(usage_report=THOUGHT_APART),
        "max_cost_usd: 0.05",
        samples=3,
        layers=2,
    ) as (run, upstream):
        assert len(upstream.requests) == 1
        assert [record.status for record in run.drafts] == ["ok", "refused", "refused"]


async def test_a_ceiling_in_dollars_holds_with_a_price_that_only_the_provider_knows(tmp_path: Path) -> None:
    async with asked(tmp_path, "lab", "unknown", Reply(usage_report=REPORTED), "max_cost_usd: 0.05") as (
        run,
        upstream,
    ):
        assert len(upstream.requests) == 1
        assert run.known_cost_usd == pytest.approx(0.1234)
        assert "$0.0000 left" in failure_of(run, "2.1").detail


async def test_thoughts_that_stream_in_large_pieces_are_cut_off_where_the_budget_ends() -> None:
    endless = Reply("Blue.", thinking="Let me think about this once more. " * 20_000, pieces=400)
    async with open_lab({"p1": endless}, panel(1), rates=Rates(0.0, 1e-5)) as lab:
        run = await lab.ask("Why?", Limits(max_cost_usd=0.2))
    used: Usage = record_of(run, "1.1").outcome.usage

    assert "budget was used up" in str(record_of(run, "1.1").error)
    assert 0.15 < (used.cost_usd or 0.0) < 0.25  # all of its thoughts would be $1.75


async def test_every_run_says_which_models_its_limit_in_dollars_does_not_limit(tmp_path: Path) -> None:
    async with asked(tmp_path, "lab", "unknown", Reply(), "max_cost_usd: 2") as (run, _):
        assert any("No price is known for lab/unknown: max_cost_usd ($2)" in note for note in run.notes)
    async with asked(tmp_path, "openai", "gpt-4o", Reply(), "max_cost_usd: 2") as (run, _):
        assert run.notes == ()


@pytest.mark.parametrize(
    ("limits", "preset_limits", "whose"),
    [
        ("on_unknown_price: refuse", Limits(), "in the configuration file"),
        ("on_unknown_price: refuse", Limits(on_unknown_price="note"), "in the configuration file"),
        ("on_unknown_price: note", Limits(on_unknown_price="refuse"), "of the preset"),
    ],
)
async def test_models_without_a_price_can_be_refused_and_a_preset_cannot_allow_them(
    tmp_path: Path, limits: str, preset_limits: Limits, whose: str
) -> None:
    with pytest.raises(PlanRefused, match=f"lab/unknown, and on_unknown_price {whose}"):
        async with asked(tmp_path, "lab", "unknown", Reply(), limits, preset_limits):
            pass


async def test_a_fallback_without_a_price_is_refused_when_it_is_needed() -> None:
    async with open_lab(preset=panel(1), rates=None) as lab:
        run = await lab.ask("Why?", Limits(max_cost_usd=1.0, on_unknown_price="refuse"))

    assert lab.upstream.requests == []
    assert "no price is known for the model" in (run.error or "")
