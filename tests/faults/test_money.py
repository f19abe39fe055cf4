"""A run never spends beyond its ceilings, and books what it cannot know at no less than was sent."""

from __future__ import annotations

from pathlib import Path

import pytest

from moa_mcp.api import open_service
from moa_mcp.domain.errors import PlanRefused, Reason
from moa_mcp.domain.model import Failure, Run, Task
from moa_mcp.domain.preset import Limits, Preset, Proposer
from moa_mcp.domain.spend import Spend
from moa_mcp.providers.prices import Rates
from moa_mcp.service.service import AskRequest
from moa_mcp.views.run import format_calls, result
from tests import clock
from tests.admission import started
from tests.faults.fixtures import LONG_REPLY, failure_of, open_lab, panel, record_of
from tests.upstream import Fault, Reply, in_turn

A_CENT_PER_TOKEN = Rates(0.01, 0.01)


def _with_max_tokens(preset: Preset) -> Preset:
    """The same panel with 100 tokens for each draft: a dollar, and some cents for the question."""
    slots = [{"model": slot.model, "max_tokens": 100} for slot in preset.slots if isinstance(slot, Proposer)]
    return Preset.model_validate({**preset.model_dump(mode="json"), "proposers": slots})


def limits(**given: float) -> Limits:
    return Limits.model_validate({"deadline_seconds": 20, **given})


async def test_retries_never_take_the_call_that_writes_the_answer() -> None:
    async with open_lab({"p1": Fault.status(503)}) as lab:
        run = await lab.ask(limits=limits(max_calls=4))

    assert (len(lab.upstream.requests), run.degraded) == (4, False)


async def test_a_judges_second_try_never_takes_the_call_that_writes_the_answer() -> None:
    preset = panel(3, conclude={"by": "analysis", "model": "lab/analyst"})
    run = Run("r1", "panel", preset, Task("Why?", seed=1), limits=limits(max_calls=5), planned_calls=5)
    async with open_lab({"analyst": Reply("This is no JSON.")}, preset) as lab:
        run = await lab.scheduler.wait(await started(lab.scheduler, run), None)

    assert (lab.hits("analyst"), lab.hits("chief")) == (1, 1)
    assert any("needed for the rest of the plan" in note for note in run.notes)


async def test_a_try_that_was_paid_for_and_asked_again_is_in_what_the_run_cost() -> None:
    said_nothing = Reply("", input_tokens=10, output_tokens=50_000)
    async with open_lab({"p1": in_turn(said_nothing, LONG_REPLY)}, panel(1)) as lab:
        run = await lab.ask()
    outcome = record_of(run, "1.1").outcome

    assert (outcome.usage.retries, outcome.usage.output_tokens) == (1, 50_020)
    assert run.output_tokens == 50_040


async def test_a_ceiling_on_calls_counts_every_request() -> None:
    async with open_lab({"chief": Fault.status(503)}, panel(3, fallbacks=2)) as lab:
        run = await lab.ask(limits=limits(max_calls=5))

    assert len(lab.upstream.requests) == 5
    assert run.degraded


async def test_a_call_that_a_ceiling_refused_was_never_made_and_is_told_apart_from_one_that_failed() -> None:
    async with open_lab(preset=panel(3)) as lab:
        run = await lab.ask(limits=limits(max_calls=2))

    assert [record.status for record in run.drafts] == ["ok", "ok", "refused"]
    assert run.calls_made == len(lab.upstream.requests) == Spend.on(run.calls).calls == 2
    assert [call["status"] for call in result(run)["calls"]] == ["ok", "ok", "refused", "refused"]
    assert "2 calls" in format_calls(run)


async def test_a_call_that_the_budget_cut_midway_was_made() -> None:
    endless = Fault.endless_tokens(every=0.001, text=" ".join(str(number) for number in range(3000)))
    async with open_lab({"p1": endless}, panel(1)) as lab:
        run = await lab.ask(limits=limits(max_tokens=2000))

    assert (record_of(run, "1.1").status, record_of(run, "1.1").attempts) == ("cut", 1)


async def test_a_call_whose_route_rests_was_never_made() -> None:
    async with open_lab({"p1": Fault.status(401)}, panel(2)) as lab:
        first, second = await lab.ask(), await lab.ask()

    assert (failure_of(second, "1.1").reason, record_of(second, "1.1").status) == (Reason.COOLING, "failed")
    assert (first.calls_made, second.calls_made, len(lab.upstream.requests)) == (3, 2, 5)


async def test_a_ceiling_on_dollars_is_reserved_before_anything_is_sent() -> None:
    preset = _with_max_tokens(panel(3))
    async with open_lab(preset=preset, rates=A_CENT_PER_TOKEN) as lab:
        run = await lab.ask(limits=limits(max_cost_usd=0.5))
    outcome = record_of(run, "1.1").outcome

    assert lab.upstream.requests == []
    assert isinstance(outcome, Failure)
    assert outcome.reason is Reason.BUDGET
    assert "$0.5000 left" in outcome.detail


async def test_calls_side_by_side_wait_for_one_another_where_the_money_is_short() -> None:
    preset = _with_max_tokens(panel(4))
    async with open_lab(preset=preset, rates=A_CENT_PER_TOKEN, otherwise=Reply("Blue.")) as lab:
        run = await lab.ask("Why?", limits=limits(max_cost_usd=2.0))

    assert lab.upstream.ledger.peak_in_flight == 1
    assert [record.status for record in run.drafts] == ["ok"] * 4


@clock.jumping
async def test_an_answer_that_outgrows_the_budget_is_cut_there() -> None:
    endless = Fault.endless_tokens(every=1, text=" ".join(str(number) for number in range(3000)))
    async with open_lab({"p1": endless}, panel(1)) as lab:
        run = await lab.ask(limits=limits(max_tokens=12_000))
    draft = record_of(run, "1.1")

    assert draft.status == "cut"
    assert any("budget was used up" in note for note in run.notes)


@pytest.mark.parametrize(
    "fault", [Fault.no_usage(LONG_REPLY), Fault.absurd_usage(reply=LONG_REPLY), Fault.cut(8, LONG_REPLY)], ids=str
)
async def test_usage_that_nobody_told_is_booked_at_no_less_than_the_input_and_flagged(fault: Fault) -> None:
    question = "Why is the sky blue? " * 20
    async with open_lab({"p1": fault}, panel(1), rates=A_CENT_PER_TOKEN) as lab:
        run = await lab.ask(question)
    usage = record_of(run, "1.1").outcome.usage

    assert usage.estimated
    assert (usage.input_tokens or 0) >= len(question) / 3
    assert (usage.output_tokens or 0) > 0
    assert usage.cost_usd == pytest.approx(((usage.input_tokens or 0) + (usage.output_tokens or 0)) * 0.01)


@clock.jumping
async def test_a_failed_call_that_a_model_may_have_worked_on_is_booked_and_one_that_was_refused_is_not() -> None:
    async with open_lab({"p1": Fault.hang(after=1), "p2": Fault.status(401)}) as lab:
        run = await lab.ask()

    assert record_of(run, "1.1").outcome.usage.estimated
    assert record_of(run, "1.2").outcome.usage.input_tokens is None


async def test_what_the_provider_counted_is_taken_as_it_is() -> None:
    async with open_lab() as lab:
        run = await lab.ask()
    usage = record_of(run, "1.1").outcome.usage

    assert (usage.input_tokens, usage.output_tokens, usage.estimated) == (10, 20, False)


async def test_where_the_price_is_unknown_calls_and_tokens_still_count() -> None:
    async with open_lab(rates=None) as lab:
        run = await lab.ask(limits=limits(max_cost_usd=0.000001, max_tokens=100_000))
        few = await lab.ask("Why? " * 100, limits=limits(max_tokens=100))

    assert (run.status, run.cost_usd) == ("completed", None)
    assert few.status == "failed"


@pytest.mark.parametrize(
    ("ceilings", "arithmetic"),
    [
        ("max_calls: 3", "needs 4 calls, and 3 is the limit"),
        ("max_tokens: 1000", "tokens in and 2,800 out over 4 calls, and 1,000 is the limit"),
        ("max_cost_usd: 0.0001", "4 calls, "),
    ],
)
async def test_a_plan_that_cannot_fit_is_refused_with_its_arithmetic_before_any_call(
    tmp_path: Path, ceilings: str, arithmetic: str
) -> None:
    models = ("openai/gpt-4o", "openai/gpt-4o-mini", "openai/gpt-4o-2024-08-06")
    preset = Preset.model_validate({"proposers": models, "aggregator": "openai/gpt-4o"})
    (tmp_path / "config.yaml").write_text(f"limits: {{{ceilings}}}\n", encoding="utf-8")
    async with open_service({"MOA_MCP_HOME": str(tmp_path), "OPENAI_API_KEY": "sk-1"}) as service:
        with pytest.raises(PlanRefused) as refused:
            await service.ask(AskRequest("Why is the sky blue?", preset=preset))

    assert arithmetic in str(refused.value)
    assert ceilings.partition(":")[0] in str(refused.value)


async def test_a_run_of_the_demonstration_costs_nothing_and_is_known_to() -> None:
    async with open_service() as service:
        plan = await service.plan(AskRequest("Why?", preset="demo"))

    assert plan.cost_usd == 0.0
