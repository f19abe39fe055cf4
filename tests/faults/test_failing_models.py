"""What fails is asked again where that can help, left alone where it cannot, and never costs the answer."""

from __future__ import annotations

from email.utils import formatdate

import anyio
import pytest

from moa_mcp.domain.errors import Reason
from moa_mcp.providers.wrappers.adapting import MAX_CHANGES
from tests import clock
from tests.faults.fixtures import LONG_REPLY, Lab, failure_of, open_lab, panel, record_of
from tests.upstream import Answer, Fault, Reply, in_turn

pytestmark = clock.jumping

WORDS = " ".join(f"word{number}" for number in range(500))

DIALECTS: tuple[str, ...] = ("openai", "anthropic")


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (401, Reason.AUTH),
        (402, Reason.BILLING),
        (403, Reason.FORBIDDEN),
        (404, Reason.UNKNOWN_MODEL),
        (422, Reason.BAD_REQUEST),
    ],
)
async def test_a_proposer_that_is_refused_is_asked_once_and_the_others_answer(
    dialect: str, status: int, reason: Reason
) -> None:
    async with open_lab({"p2": Fault.status(status)}, dialect=dialect) as lab:
        run = await lab.ask()

    assert (run.status, run.degraded, lab.hits("p2")) == ("completed", False, 1)
    assert (failure_of(run, "1.2").reason, failure_of(run, "1.2").usage.retries) == (reason, 0)
    assert any("proposer 1.2 (lab/p2) left out" in note for note in run.notes)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "50.5"}, 50.5),
        ({"retry-after-ms": "500"}, 0.5),
        ({"retry-after": formatdate(0, usegmt=True)}, 0),
    ],
    ids=["seconds", "milliseconds", "date"],
)
async def test_a_rate_limit_is_waited_for_as_long_as_was_asked_and_then_passes(
    headers: dict[str, str], seconds: float
) -> None:
    async with open_lab({"p1": in_turn(Fault.status(429, headers=headers), LONG_REPLY)}) as lab:
        run = await lab.ask()

    assert (record_of(run, "1.1").outcome.usage.retries, record_of(run, "1.1").seconds) == (1, seconds)
    assert (lab.hits("p1"), run.notes) == (2, ())


@pytest.mark.parametrize("asked", ["3600", "1e9"])
async def test_a_wait_that_is_too_long_is_not_waited_for_and_the_model_rests(asked: str) -> None:
    async with open_lab({"p1": Fault.status(429, headers={"retry-after": asked})}) as lab:
        first, second = await lab.ask(), await lab.ask()

    assert (first.status, second.status, lab.hits("p1")) == ("completed", "completed", 1)
    assert (failure_of(first, "1.1").reason, failure_of(second, "1.1").reason) == (Reason.RATE_LIMITED, Reason.COOLING)


@pytest.mark.parametrize("asked", ["nan", "-5", "inf", "soon"])
async def test_a_wait_that_makes_no_sense_is_our_own_short_one(asked: str) -> None:
    async with open_lab({"p1": in_turn(Fault.status(429, headers={"retry-after": asked}), LONG_REPLY)}) as lab:
        run = await lab.ask()

    assert (record_of(run, "1.1").outcome.usage.retries, lab.hits("p1")) == (1, 2)


@pytest.mark.parametrize("code", ["insufficient_quota", "credit_balance_exhausted", "project_spend_limit_exceeded"])
async def test_an_account_without_credit_is_not_asked_again_by_later_runs(code: str) -> None:
    async with open_lab({"p1": Fault.status(429, code=code)}) as lab:
        first, second = await lab.ask(), await lab.ask()

    assert lab.hits("p1") == 1
    assert failure_of(first, "1.1").reason is Reason.BILLING
    assert "no credit" in str(failure_of(second, "1.1"))


@pytest.mark.parametrize("status", [408, 409, 500, 502, 503, 504, 529])
async def test_a_server_error_is_tried_again_twice_at_most_after_waits_that_grow(status: int) -> None:
    fault, later = Fault.status(status), Fault.status(status, headers={"retry-after": "9"})
    async with open_lab({"p1": in_turn(fault, fault, LONG_REPLY), "p2": later}, draw=0.5) as lab:
        run = await lab.ask()

    assert (record_of(run, "1.1").outcome.usage.retries, lab.hits("p1")) == (2, 3)
    assert record_of(run, "1.1").seconds == 0.5 + 1.0
    assert (failure_of(run, "1.2").usage.retries, lab.hits("p2")) == (1, 2)  # the run's allowance is three in all


@pytest.mark.parametrize(("status", "wish", "hits"), [(500, "false", 1), (400, "true", 3), (401, "true", 1)])
async def test_a_provider_that_says_whether_to_retry_is_obeyed(status: int, wish: str, hits: int) -> None:
    async with open_lab({"p1": Fault.status(status, headers={"x-should-retry": wish})}) as lab:
        await lab.ask()

    assert lab.hits("p1") == hits


async def test_a_panel_that_is_down_as_a_whole_fails_with_every_cause_and_asks_no_aggregator() -> None:
    async with open_lab({f"p{n}": Fault.status(503) for n in (1, 2, 3)}) as lab:
        run = await lab.ask()

    assert (run.status, lab.hits("chief")) == ("failed", 0)
    assert (run.error or "").count("server error") == 3
    assert run.calls_made == 3


@pytest.mark.parametrize("fault", [Fault.status(500), Fault.reset(), Fault.html()], ids=str)
async def test_an_aggregator_that_fails_is_replaced_by_its_fallback(fault: Fault) -> None:
    async with open_lab({"chief": fault}, panel(fallbacks=1)) as lab:
        run = await lab.ask()

    assert (run.status, run.degraded) == ("completed", False)
    assert (run.answer or "").startswith("deputy1 was asked")


async def test_without_any_aggregator_the_best_draft_is_the_answer_and_marked_degraded() -> None:
    broken = Fault.status(401)
    async with open_lab({"chief": broken, "deputy1": broken, "p2": LONG_REPLY}, panel(fallbacks=1)) as lab:
        run = await lab.ask()

    assert (run.status, run.degraded) == ("completed", True)
    assert (run.answer or "").startswith("p1 was asked")  # as p3 was: the long draft of p2 stands alone


async def test_a_cut_answer_is_taken_only_when_no_fallback_could_write_a_whole_one() -> None:
    cut = Fault.cut(after=8, reply=LONG_REPLY)
    async with open_lab({"chief": cut}, panel(fallbacks=1)) as lab:
        replaced = await lab.ask()
    async with open_lab({"chief": cut, "deputy1": Fault.status(401)}, panel(fallbacks=1)) as lab:
        partial = await lab.ask()

    assert ((replaced.answer or "").startswith("deputy1"), replaced.degraded) == (True, False)
    assert (partial.status, partial.degraded) == ("completed", True)
    assert LONG_REPLY.text.startswith(partial.answer or "-")
    assert record_of(partial, "2.1").status == "cut"


def prompts_of(lab: Lab, model: str) -> list[str]:
    """All that the model read, request by request."""
    return [request.prompt for request in lab.upstream.requests if request.model == model]


@pytest.mark.parametrize("style", ["fenced", "tagged"])
async def test_drafts_that_do_not_fit_are_shortened_and_the_question_is_not(style: str) -> None:
    too_long = Fault.status(400, code="context_length_exceeded")
    question = "Why is the sky blue? " * 30
    preset = panel(prompt_style=style)
    async with open_lab({"chief": in_turn(too_long, LONG_REPLY)}, preset, otherwise=Reply(WORDS)) as lab:
        run = await lab.ask(question)
    before, after = prompts_of(lab, "chief")

    assert run.status == "completed"
    assert len(after) < len(before) * 0.7
    assert question in after
    assert any("were shortened to fit its context" in note for note in run.notes)


async def test_a_message_that_does_not_fit_however_short_its_drafts_is_given_up() -> None:
    too_long = Fault.status(413)
    async with open_lab({"chief": too_long}, otherwise=Reply(WORDS)) as lab:
        run = await lab.ask()

    assert 2 < lab.hits("chief") <= MAX_CHANGES
    assert run.degraded


async def test_a_setting_that_a_model_refuses_is_left_out_remembered_and_noted() -> None:
    refused = Fault.status(400, message="Unsupported parameter: temperature is not supported with this model.")
    proposers = [{"model": "lab/p1", "temperature": 0.7}, "lab/p2"]
    async with open_lab({"p1": in_turn(refused, LONG_REPLY)}, panel(proposers=2).model_copy()) as lab:
        lab.preset = type(lab.preset).model_validate({**lab.preset.model_dump(mode="json"), "proposers": proposers})
        first, second = await lab.ask(), await lab.ask()
    sent = ["temperature" in request.body for request in lab.upstream.requests if request.model == "p1"]

    assert sent == [True, False, False]
    assert [any("temperature was not sent" in note for note in run.notes) for run in (first, second)] == [True, True]


@pytest.mark.parametrize("proposers", [2, 20])
async def test_a_retry_storm_is_held_to_a_fifth_of_the_calls_or_three(proposers: int) -> None:
    async with open_lab(preset=panel(proposers), otherwise=Fault.status(503)) as lab:
        await lab.ask()

    allowed = max(3, -(-(proposers + 1) // 5))
    assert proposers < len(lab.upstream.requests) <= proposers + allowed


async def test_a_model_that_keeps_failing_rests_and_is_asked_again_later() -> None:
    async with open_lab({"p1": Fault.status(503)}, panel(2)) as lab:
        await lab.ask()
        run = await lab.ask()
        resting = lab.hits("p1")
        await anyio.sleep(30)
        await lab.ask()

    assert (resting, lab.hits("p1")) == (3, 4)
    assert failure_of(run, "1.1").reason is Reason.COOLING


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(
    "answer",
    [
        Fault.status(500),
        Fault.redirect("http://127.0.0.1:9/"),
        Fault.html(),
        Fault.half_json(),
        Fault.empty_body(),
        Fault.error_in_body(429),
        Fault.error_event(0),
        Fault.error_event(2),
        Fault.malformed_event(),
        Fault.no_choices(),
        Fault.reset(),
        Fault.reset(after=1),
        Fault.close(),
        Fault.close_mid_chunk(),
        Fault.cut(),
        Fault.hang(),
        Fault.hang(after=1),
        Fault.drip_comments(25),
        Fault.drip_headers(25),
        Fault.endless_tokens(text="and so on, " * 3000),
        Fault.endless_line(),
        Fault.gzip_bomb(8),
        Reply(""),
        Reply("", thinking="hm"),
        Reply("", refusal="No.", finish_reason="content_filter"),
    ],
    ids=str,
)
async def test_no_fault_of_one_proposer_costs_the_answer(dialect: str, answer: Answer) -> None:
    async with open_lab({"p2": answer}, dialect=dialect) as lab:
        run = await lab.ask()

    assert (run.status, run.degraded) == ("completed", False)
    assert record_of(run, "1.2").status == "failed"
    assert [record_of(run, f"1.{slot}").status for slot in (1, 3)] == ["ok", "ok"]
