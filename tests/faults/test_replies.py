"""What a model sends instead of an answer is told apart, and what it sends with an answer is taken out."""

from __future__ import annotations

import pytest

from moa_mcp.domain.errors import Reason
from moa_mcp.domain.model import Draft, Failure
from moa_mcp.views.inert import inert
from tests.faults.fixtures import LONG_REPLY, everything_in, open_lab, panel, record_of
from tests.upstream import Answer, Fault, Reply

DIALECTS: tuple[str, ...] = ("openai", "anthropic")


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(
    ("answer", "reason", "hits"),
    [
        (Fault.error_in_body(401), Reason.AUTH, 1),
        (Fault.error_event(0, status=429), Reason.RATE_LIMITED, 3),
        (Fault.error_event(2, status=500), Reason.UNAVAILABLE, 1),
        (Fault.malformed_event(0), Reason.MALFORMED, 2),
        (Fault.half_json(), Reason.MALFORMED, 2),
        (Fault.html(), Reason.MALFORMED, 2),
        (Fault.empty_body(), Reason.CUT, 2),
        (Fault.no_choices(), Reason.EMPTY, 2),
        (Reply(" \n"), Reason.EMPTY, 2),
        (Reply("", thinking="hm"), Reason.REASONING_ONLY, 1),
        (Reply("<think>never closed", finish_reason="length"), Reason.REASONING_ONLY, 1),
        (Reply("", refusal="No.", finish_reason="content_filter"), Reason.REFUSED, 1),
    ],
    ids=str,
)
async def test_an_error_in_a_good_reply_is_what_its_words_say(
    dialect: str, answer: Answer, reason: Reason, hits: int
) -> None:
    async with open_lab({"p1": answer}, dialect=dialect) as lab:
        run = await lab.ask()
    outcome = record_of(run, "1.1").outcome

    assert isinstance(outcome, Failure)
    assert (outcome.reason, lab.hits("p1"), run.degraded) == (reason, hits, False)
    assert len(outcome.detail) <= 200


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(
    "text",
    ["<think>secret</think>Blue.", "<think>secret <think>more</think> secret</think>Blue.", "secret</think>Blue."],
)
async def test_thoughts_reach_neither_the_next_layer_nor_the_result(dialect: str, text: str) -> None:
    async with open_lab({"p1": Reply(text, pieces=3)}, dialect=dialect) as lab:
        run = await lab.ask()
    outcome = record_of(run, "1.1").outcome

    assert isinstance(outcome, Draft)
    assert outcome.text == "Blue."
    assert all("secret" not in request.question for request in lab.upstream.requests)


async def test_a_refusal_is_told_apart_and_a_panel_of_refusals_asks_no_aggregator() -> None:
    refusal = Reply("", refusal="I will not.", finish_reason="content_filter")
    async with open_lab({"p1": refusal}) as lab:
        one = await lab.ask()
    async with open_lab(otherwise=refusal) as lab:
        all_of_them = await lab.ask()

    assert (one.status, "refused to answer" in one.notes[0]) == ("completed", True)
    assert (all_of_them.status, lab.hits("chief")) == ("failed", 0)
    assert (all_of_them.error or "").startswith("Every model of the panel refused to answer:")


async def test_an_answer_that_ran_out_of_tokens_is_marked_wherever_it_is() -> None:
    short = Reply("The sky is", finish_reason="length")
    async with open_lab({"p1": short, "chief": short}) as lab:
        run = await lab.ask()

    assert [record_of(run, identity).outcome.finish_reason for identity in ("1.1", "2.1")] == ["length", "length"]
    assert sum("ran out of tokens" in note for note in run.notes) == 2
    assert run.degraded


@pytest.mark.parametrize("finish_reason", ["content_filter", "insufficient_system_resource", "pause_turn"])
async def test_an_answer_that_its_provider_stopped_is_kept_and_marked(finish_reason: str) -> None:
    stopped = Reply("The sky is", finish_reason=finish_reason)
    async with open_lab({"chief": stopped}) as lab:
        run = await lab.ask()

    assert (run.answer, run.degraded, run.status) == ("The sky is", True, "completed")
    assert run.notes[0].startswith("aggregator 2.1 (lab/chief) was ")


async def test_a_fallback_writes_the_answer_that_a_filter_stopped() -> None:
    stopped = Reply("The sky is", finish_reason="content_filter")
    async with open_lab({"chief": stopped, "deputy1": LONG_REPLY}, panel(fallbacks=1)) as lab:
        run = await lab.ask()

    assert (run.answer, run.degraded) == (LONG_REPLY.text.strip(), False)


async def test_a_tool_call_that_nobody_offered_is_ignored() -> None:
    async with open_lab({"p1": Fault.tool_calls()}) as lab:
        run = await lab.ask()

    assert record_of(run, "1.1").status == "ok"


async def test_a_model_that_repeats_itself_without_end_is_cut_and_left_out() -> None:
    loop = Reply("Now I will say it again, and again, and then once more. " * 200, pieces=40)
    async with open_lab({"p1": loop}) as lab:
        run = await lab.ask()
    outcome = record_of(run, "1.1").outcome

    assert isinstance(outcome, Failure)
    assert outcome.reason is Reason.DEGENERATE


async def test_the_model_that_really_answered_is_named_and_one_that_answers_for_two_is_noted() -> None:
    async with open_lab({"p1": Reply("One.", model="cheap"), "p2": Reply("Two.", model="cheap")}) as lab:
        run = await lab.ask()

    assert record_of(run, "1.1").outcome.served_model == "cheap"
    assert any("one model (cheap) answered for different ones" in note for note in run.notes)


async def test_drafts_that_are_nearly_the_same_are_noted() -> None:
    async with open_lab({"p1": LONG_REPLY, "p3": LONG_REPLY}) as lab:
        run = await lab.ask()

    assert any("1.1 and 1.3" in note for note in run.notes)


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_text_that_would_break_a_reader_is_repaired_at_the_door(dialect: str) -> None:
    split = Reply(
        pieces=("caf\u00e9 \ud83e", "\udd89 ", "lone \ud83d half, nul \x00, ", "\x1b[31mred\x1b[0m \u202egnp")
    )
    async with open_lab({"chief": split}, dialect=dialect) as lab:
        run = await lab.ask()
        after = await lab.ask()

    assert run.answer == "caf\u00e9 \U0001f989 lone \ufffd half, nul \x00, \x1b[31mred\x1b[0m \u202egnp"
    assert inert(run).answer == "caf\u00e9 \U0001f989 lone \ufffd half, nul , red gnp"
    assert everything_in(run).encode()
    assert after.status == "completed"


@pytest.mark.parametrize("emoji", ["\U0001f468\u200d\U0001f469\u200d\U0001f467", "\u2764\ufe0f\u200d\U0001f525"])
async def test_an_emoji_made_of_several_survives(emoji: str) -> None:
    async with open_lab({"chief": Reply(pieces=(emoji[:1], emoji[1:3], emoji[3:]))}, panel(1)) as lab:
        run = await lab.ask()

    assert run.answer == emoji
