"""`moa_ask` over the protocol, in both eras."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import anyio
import pytest

from moa_mcp.config.settings import Paths
from moa_mcp.domain.errors import ProviderError, Reason
from moa_mcp.domain.model import Call, Draft, Run, Usage
from moa_mcp.server.tools.ask import ASK
from moa_mcp.store.base import AdmittedRun
from moa_mcp.store.daily_budget import ReservationRequest
from moa_mcp.store.memory import MemoryStore
from moa_mcp.testing.scripted import HoldingProvider, ScriptedProvider

Serve = Callable[..., AbstractAsyncContextManager[Any]]


def reply_to(call: Call) -> Draft:
    return Draft(
        f"said by {call.id}",
        served_model=f"{call.model}-0711",
        finish_reason="stop",
        usage=Usage(10, 20, 0.25),
    )


async def test_an_answer_comes_with_every_fact_as_text_and_as_structure(serve: Serve) -> None:
    async with serve(ScriptedProvider(reply_to)) as served:
        result = await served.ask(question="Why is the sky blue?")

    run = result.facts
    assert (run["status"], run["answer"], run["preset"]) == ("completed", "said by 2.1", "two")
    assert (run["calls_made"], run["input_tokens"], run["output_tokens"]) == (3, 30, 60)
    assert run["cost_usd"] == 0.75
    for fact in (
        run["run_id"],
        run["answer"],
        "completed",
        "2 layers",
        "3 calls",
        "30 in, 60 out",
        "$0.7500",
    ):
        assert fact in result.text
    for call in run["calls"]:
        assert f"{call['role']} {call['layer']}.{call['slot']} {call['model']}" in result.text
        assert call["served_model"] in result.text


def second_is_lost(call: Call) -> Draft | ProviderError:
    return ProviderError(Reason.RATE_LIMITED) if call.id == "1.2" else reply_to(call)


async def test_what_is_missing_is_above_the_answer_and_in_the_facts(serve: Serve) -> None:
    async with serve(ScriptedProvider(second_is_lost)) as served:
        result = await served.ask(question="Why is the sky blue?")

    run = result.facts
    assert (run["status"], run["partial"], run["degraded"]) == ("completed", True, False)
    assert (run["panel"]["asked"], run["panel"]["answered"], run["panel"]["skewed"]) == (2, 1, False)
    assert [(one["slot"], one["reason"]) for one in run["panel"]["lost"]] == [(2, "rate limited")]
    assert result.text.index("Partial: 1 draft is missing") < result.text.index(run["answer"])


async def test_a_caller_can_refuse_an_answer_with_a_missing_draft(serve: Serve) -> None:
    provider = ScriptedProvider(second_is_lost)
    async with serve(provider) as served:
        result = await served.ask(question="Why is the sky blue?", on_partial="refuse")

    assert (result.facts["status"], result.facts["answer"]) == ("failed", None)
    assert "rate limited" in result.text
    assert {call.role for call in provider.calls} == {"proposer"}


async def test_a_result_stays_small_beside_its_answer(serve: Serve, home: Paths) -> None:
    wide = "{proposers: [{model: lab/a-rather-long-name-of-a-model, samples: 6}], layers: 3, aggregator: lab/agg}"
    (home.presets_folder / "wide.yaml").write_text(wide, encoding="utf-8")
    async with serve(ScriptedProvider(reply_to)) as served:
        result = await served.ask(question="Q?", preset="wide")

    assert result.facts["calls_made"] == 13
    assert max(len(result.text), len(json.dumps(result.facts))) < 10_000


async def test_a_result_stays_small_with_many_calls_and_notes(serve: Serve, home: Paths) -> None:
    names = [f"lab/a-rather-long-name-of-a-model-{number}-235b-a22b-instruct" for number in range(13)]
    wide = f"{{proposers: {json.dumps(names)}, layers: 4, aggregator: lab/agg}}"
    (home.presets_folder / "wide.yaml").write_text(wide, encoding="utf-8")

    def mostly_failing(call: Call) -> Draft | ProviderError:
        return (
            ProviderError(Reason.BAD_REQUEST, "é" * 500)
            if call.slot > 3 and call.role == "proposer"
            else reply_to(call)
        )

    async with serve(ScriptedProvider(mostly_failing)) as served:
        result = await served.ask(question="Q?", preset="wide")
        run = result.facts
        [page] = (await served.client.read_resource(run["resources"]["run"])).contents

    assert run["calls_made"] == 40
    assert max(len(result.text.encode()), len(json.dumps(run, ensure_ascii=False).encode())) < 10_000
    assert len(run["calls"]) < 40 == len(json.loads(page.text)["calls"])
    assert run["calls"][-1]["role"] == "aggregator"
    assert f"All is in {run['resources']['run']}." in run["notes"][-1]
    assert all(f"Note: {note}" in result.text for note in run["notes"])
    for call in run["calls"]:
        assert f"{call['role']} {call['layer']}.{call['slot']} {call['model']}" in result.text
    assert result.text.count(": failed") == sum(call["status"] == "failed" for call in run["calls"])


async def test_drafts_in_a_result_are_cut_with_a_word_on_where_the_rest_is(serve: Serve) -> None:
    async with serve(ScriptedProvider(lambda call: call.id + "x" * 30_000)) as served:
        result = await served.ask(question="Q?", drafts="full")

    texts = [draft["text"] for draft in result.facts["drafts"]]
    assert sum(map(len, texts)) < 41_000
    assert texts[1].endswith(f"[cut: the whole draft is in {result.facts['resources']['drafts']}]")
    assert all(text in result.text for text in texts)


async def test_a_result_links_to_the_run_and_its_drafts(serve: Serve) -> None:
    async with serve(ScriptedProvider(reply_to)) as served:
        result = await served.ask(question="Q?")

    run = f"moa://runs/{result.facts['run_id']}"
    assert result.links == [run, f"{run}/drafts"] == list(result.facts["resources"].values())


async def test_drafts_come_only_when_they_are_asked_for(serve: Serve) -> None:
    async with serve(ScriptedProvider(reply_to)) as served:
        without = await served.ask(question="Q?")
        full = await served.ask(run_id=without.facts["run_id"], drafts="full")

    assert "drafts" not in without.facts
    assert "said by 1.1" not in without.text
    assert [draft["text"] for draft in full.facts["drafts"]] == ["said by 1.1", "said by 1.2"]
    assert "said by 1.1" in full.text


async def test_a_run_that_takes_longer_comes_back_running_and_is_collected_by_its_id(serve: Serve) -> None:
    gate = HoldingProvider(ScriptedProvider(reply_to), lambda call: call.role == "aggregator")
    async with serve(gate) as served:
        early = await served.ask(question="Q?", wait_seconds=0)
        run_id = early.facts["run_id"]
        await gate.held.wait()
        meanwhile = await served.ask(run_id=run_id, wait_seconds=0)
        gate.opened.set()
        late = await served.ask(run_id=run_id)

    assert [result.facts["status"] for result in (early, meanwhile, late)] == ["running", "running", "completed"]
    assert not early.is_error
    assert run_id in early.text
    assert (meanwhile.facts["answer"], meanwhile.facts["calls_made"]) == (None, 2)
    assert late.facts["answer"] == "said by 2.1"


async def test_cancel_stops_a_run_and_its_calls(serve: Serve) -> None:
    gate = HoldingProvider(ScriptedProvider(reply_to), lambda call: True)
    async with serve(gate) as served:
        early = await served.ask(question="Q?", wait_seconds=0)
        await gate.held.wait()
        cancelled = await served.ask(run_id=early.facts["run_id"], cancel=True)

    assert cancelled.facts["status"] == "cancelled"
    assert not cancelled.is_error
    assert sorted(call.id for call in gate.cancelled) == ["1.1", "1.2"]


async def test_a_call_that_is_given_up_stops_the_models_and_asked_again_goes_on(serve: Serve) -> None:
    gate = HoldingProvider(ScriptedProvider(reply_to), lambda call: True)
    async with serve(gate) as served, anyio.create_task_group() as tasks:
        with anyio.CancelScope() as asking:
            tasks.start_soon(_once, gate.held, asking.cancel)
            await served.ask(question="Q?")
        run = await served.service.latest()
        if live := served.service.scheduler.find("local", run.run_id):
            await live.done.wait()
        ended = await served.service.scheduler.get_run("local", run.run_id)
        gate.opened.set()
        again = await served.ask(question="Q?")

        assert ended.status == "interrupted"
        assert sorted(call.id for call in gate.cancelled) == ["1.1", "1.2"]
        assert (again.facts["run_id"], again.facts["status"]) == (run.run_id, "completed")


async def _once(event: anyio.Event, act: Callable[[], None]) -> None:
    await event.wait()
    act()


async def test_a_call_that_is_given_up_leaves_a_run_alone_that_was_handed_back_before(serve: Serve) -> None:
    gate = HoldingProvider(ScriptedProvider(reply_to), lambda call: True)
    async with serve(gate) as served:
        run_id = (await served.ask(question="Q?", wait_seconds=0)).facts["run_id"]
        with anyio.move_on_after(0):
            await served.ask(run_id=run_id)
        gate.opened.set()
        late = await served.ask(run_id=run_id)

    assert late.facts["status"] == "completed"


async def test_a_failed_run_is_an_error_that_names_each_cause(serve: Serve) -> None:
    def refused(call: Call) -> ProviderError:
        return ProviderError(Reason.RATE_LIMITED if call.slot == 1 else Reason.BILLING)

    async with serve(ScriptedProvider(refused)) as served:
        result = await served.ask(question="Q?")

    assert result.is_error
    assert result.facts["status"] == "failed"
    for words in (result.text, result.facts["error"]):
        assert "rate limited" in words
        assert "no credit" in words


async def test_guidance_calls_no_aggregator(serve: Serve) -> None:
    provider = ScriptedProvider(reply_to)
    async with serve(provider) as served:
        result = await served.ask(question="Q?", output="guidance")

    assert {call.role for call in provider.calls} == {"proposer"}
    assert "said by 1.1" in result.facts["answer"]
    assert "said by 1.2" in result.facts["answer"]


async def test_a_question_can_continue_from_an_earlier_run(serve: Serve) -> None:
    provider = ScriptedProvider(reply_to)
    async with serve(provider) as served:
        first = await served.ask(question="Which moon?")
        await served.ask(question="And the next?", continue_from=first.facts["run_id"])

    turns = [message.text for message in provider.calls[-1].messages if message.speaker != "system"]
    assert turns == ["Which moon?", "said by 2.1", "And the next?"]


async def test_context_reaches_the_models_with_the_question(serve: Serve) -> None:
    provider = ScriptedProvider(reply_to)
    async with serve(provider) as served:
        await served.ask(question="Sum?", context="The ledger says 17.")

    assert "The ledger says 17." in provider.calls[0].messages[-1].text


async def test_a_caller_can_lower_the_limits_of_a_run(serve: Serve) -> None:
    async with serve(ScriptedProvider(reply_to)) as served:
        await served.ask(question="Q?", max_cost_usd=0.9, deadline_seconds=20)
        limits = (await served.service.latest()).limits

    assert (limits.max_cost_usd, limits.deadline_seconds) == (0.9, 20)


async def test_the_same_question_is_paid_for_again_only_when_it_is_asked_afresh(serve: Serve) -> None:
    provider = ScriptedProvider(reply_to)
    async with serve(provider) as served:
        first = (await served.ask(question="Q?")).facts
        again = (await served.ask(question="Q?")).facts
        fresh = (await served.ask(question="Q?", fresh=True)).facts

    assert first["run_id"] == again["run_id"] != fresh["run_id"]
    assert (again["cached"], fresh["cached"]) == (True, False)
    assert len(provider.calls) == 6


async def test_half_an_emoji_in_a_question_is_replaced_before_it_reaches_anything(serve: Serve) -> None:
    provider = ScriptedProvider(lambda call: call.messages[-1].text)
    async with serve(provider) as served:
        result = await served.ask(question="Why \ud83d?")

    assert not result.is_error
    assert "Why \ufffd?" in result.text
    result.text.encode()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({}, "Give a question to ask, or the run_id"),
        ({"question": " "}, "question is empty"),
        ({"question": "Q?", "run_id": "r"}, "There is no run 'r'"),
        ({"question": "Q?", "cancel": True}, "cancel needs the run_id"),
        ({"run_id": "r"}, "There is no run 'r'"),
        ({"question": "Q?", "preset": "tow"}, "There is no preset 'tow'. Known, nearest first: two"),
        ({"question": "Q?", "preset": "locked"}, "FAR_KEY"),
        ({"question": "Q?", "continue_from": "r"}, "There is no run 'r'"),
        (
            {"qestion": "sk-canary", "presett": 1},
            "no argument 'presett', 'qestion'. Known, nearest first: preset, ",
        ),
        ({"question": 7}, "Argument question: this value does not fit. Expected a valid string"),
        ({"question": "Q?", "wait_seconds": 601}, "Argument wait_seconds"),
        ({"question": "Q?", "wait_seconds": -1}, "Argument wait_seconds"),
        ({"question": "Q?", "drafts": "sk-canary"}, "Expected 'none' or 'full'"),
        ({"question": "Q?", "max_cost_usd": -1}, "Argument max_cost_usd: this value does not fit. Expected greater"),
        ({"question": "Q?", "deadline_seconds": -1}, "Argument deadline_seconds"),
        ({"question": "Q?", "deadline_seconds": 1e9}, "Argument deadline_seconds"),
    ],
)
async def test_what_cannot_be_done_is_an_error_in_plain_words(
    serve: Serve, arguments: dict[str, Any], expected: str
) -> None:
    provider = ScriptedProvider(reply_to)
    async with serve(provider) as served:
        result = await served.ask(**arguments)

    assert result.is_error
    assert expected in result.text
    assert "sk-canary" not in result.text
    assert "pydantic" not in result.text
    assert not provider.calls


@pytest.mark.parametrize("nothing", [None, ""])
async def test_null_and_an_empty_text_are_the_same_as_left_out(serve: Serve, nothing: str | None) -> None:
    everything = dict.fromkeys(ASK.arguments.model_fields, nothing)
    async with serve(ScriptedProvider(reply_to)) as served:
        result = await served.ask(**{**everything, "question": "Q?"})

    assert result.facts["status"] == "completed"


async def test_limits_of_zero_are_none(serve: Serve) -> None:
    async with serve(ScriptedProvider(reply_to)) as served:
        await served.ask(question="Q?", max_cost_usd=0, deadline_seconds=0)
        limits, ceilings = (await served.service.latest()).limits, served.service.settings().limits

    assert (limits.max_cost_usd, limits.deadline_seconds) == (ceilings.max_cost_usd, ceilings.deadline_seconds)


@pytest.mark.parametrize("question", ["", "Why?"])
async def test_a_run_is_collected_even_if_other_arguments_are_filled_in(serve: Serve, question: str) -> None:
    # In OpenAI's strict mode a model has to give every argument, and there is no null.
    filled = {
        "question": question,
        "context": "",
        "preset": "locked",
        "continue_from": "no run",
        "output": "guidance",
        "on_partial": "refuse",
        "max_cost_usd": 1e-9,
        "deadline_seconds": 1e-9,
        "fresh": True,
        "cancel": False,
        "wait_seconds": 45,
        "drafts": "none",
    }
    provider = ScriptedProvider(reply_to)
    async with serve(provider) as served:
        asked = await served.ask(question="Why?", context="The sky is blue.")
        collected = await served.ask(run_id=asked.facts["run_id"], **filled)

    assert {*filled, "run_id"} == set(ASK.arguments.model_fields)
    assert collected.facts == asked.facts
    assert len(provider.calls) == 3


async def test_another_question_is_not_answered_by_an_earlier_run(serve: Serve) -> None:
    async with serve(ScriptedProvider(reply_to)) as served:
        asked = await served.ask(question="Why?")
        other = await served.ask(run_id=asked.facts["run_id"], question="And when?")

    assert other.is_error
    assert "answers another question" in other.text
    assert "continue_from" in other.text


async def test_an_unexpected_error_is_masked(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    class Broken(MemoryStore):
        async def admit(self, run: Run, wanted: ReservationRequest, since: float | None = None) -> AdmittedRun | Run:
            raise RuntimeError("sk-canary in a traceback")

    async with serve(ScriptedProvider(reply_to), Broken()) as served:
        result = await served.ask(question="Q?")

    assert result.is_error
    assert "unexpected fault" in result.text
    assert "canary" not in result.text
    assert "sk-canary in a traceback" in caplog.text
