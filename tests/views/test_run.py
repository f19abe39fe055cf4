"""A run as others see it."""

import json
from dataclasses import replace

from moa_mcp.domain.errors import Reason
from moa_mcp.domain.model import CallRecord, ChatCall, Draft, Failure, Run, Task, Usage
from moa_mcp.domain.preset import Aggregator, Preset, Proposer
from moa_mcp.domain.shortfalls import Shortfall
from moa_mcp.views.notice import notice
from moa_mcp.views.run import MAX_DRAFTS_BYTES, as_markdown, brief, format_calls, result

PRESET = Preset(name="p", proposers=(Proposer(model="lab/m", samples=2),), aggregator=Aggregator(model="lab/agg"))


def record(identity: str, outcome: Draft | Failure, role: str = "proposer") -> CallRecord:
    layer, slot = (int(part) for part in identity.split("."))
    return CallRecord(ChatCall(identity, role, layer, slot, "lab/m", ()), outcome, 1.25)


def a_run(*records: CallRecord, answer: str | None = "Because.") -> Run:
    return Run("ID", "p", PRESET, Task("Q?"), status="completed", answer=answer, calls=records, seconds=2.0)


PRICED = Draft("one", "m-2026", "stop", Usage(10, 20, 0.001))
UNPRICED = Draft("two", "m", "stop", Usage(10, 20))


def test_calls_are_listed_by_layer_and_slot_and_not_by_their_ends() -> None:
    facts = result(a_run(record("2.1", PRICED, "aggregator"), record("1.2", PRICED), record("1.1", PRICED)))

    assert [(call["layer"], call["slot"]) for call in facts["calls"]] == [(1, 1), (1, 2), (2, 1)]


def test_tokens_and_costs_are_summed_over_all_calls() -> None:
    facts = result(a_run(record("1.1", PRICED), record("1.2", PRICED)))

    assert (facts["input_tokens"], facts["output_tokens"], facts["cost_usd"]) == (20, 40, 0.002)


def test_one_unknown_price_makes_the_sum_unknown_and_never_zero() -> None:
    assert result(a_run(record("1.1", PRICED), record("1.2", UNPRICED)))["cost_usd"] is None


def test_a_total_says_what_is_known_and_how_many_prices_are_not() -> None:
    run = a_run(record("1.1", PRICED), record("1.2", UNPRICED), record("1.3", UNPRICED))

    assert (result(run)["known_cost_usd"], result(run)["unpriced_calls"]) == (0.001, 2)
    assert "at least $0.0010, 2 calls without a price" in format_calls(run)
    assert "price unknown" in format_calls(a_run(record("1.1", UNPRICED)))


def test_cached_tokens_are_shown_where_there_are_any() -> None:
    used = Usage(1000, 20, 0.001, cached_tokens=960, reasoning_tokens=5)
    run = a_run(record("1.1", Draft("blue", usage=used)))

    assert result(run)["calls"][0].get("cached_tokens") == 960
    assert result(run)["calls"][0].get("reasoning_tokens") == 5
    assert "cached_tokens" not in result(a_run(record("1.1", PRICED)))["calls"][0]
    assert "1,000 in (960 cached), 20 out" in format_calls(run)


def test_a_call_that_was_never_billed_does_not_make_the_price_unknown() -> None:
    assert result(a_run(record("1.1", PRICED), record("1.2", Failure(Reason.AUTH))))["cost_usd"] == 0.001


def test_the_model_that_answered_is_shown_beside_the_one_that_was_asked() -> None:
    facts = result(a_run(record("1.1", PRICED)))["calls"][0]

    assert (facts["model"], facts["served_model"]) == ("lab/m", "m-2026")
    assert "lab/m (answered by m-2026)" in format_calls(a_run(record("1.1", PRICED)))


def test_a_failure_is_described_in_plain_words() -> None:
    facts = result(a_run(record("1.1", Failure(Reason.RATE_LIMITED, "slow down"))))["calls"][0]

    assert facts["status"] == "failed"
    assert facts["error"] is not None
    assert facts["error"].startswith("rate limited")


def test_drafts_are_shown_only_when_they_are_asked_for() -> None:
    assert "drafts" not in result(a_run(record("1.1", PRICED)))
    assert [d["text"] for d in result(a_run(record("1.1", PRICED)), drafts=True).get("drafts", [])] == ["one"]


def test_drafts_that_are_too_long_are_cut_and_say_where_the_rest_is() -> None:
    long = Draft("x" * (MAX_DRAFTS_BYTES + 1))

    shown = result(a_run(record("1.1", long), record("1.2", long)), drafts=True).get("drafts", [])

    assert all("moa://runs/ID/drafts" in (draft["text"] or "") for draft in shown)
    assert sum(len(draft["text"] or "") for draft in shown) < MAX_DRAFTS_BYTES + 200


def test_text_and_structured_content_have_the_same_facts() -> None:
    run = a_run(record("1.1", PRICED), record("1.2", Failure(Reason.AUTH)))
    text, facts = as_markdown(run), result(run)

    assert str(facts["answer"]) in text
    assert f"{facts['panel']['answered']} of {facts['panel']['asked']} slots answered" in text
    for fact in (facts["run_id"], facts["preset"], facts["status"], f"{facts['calls_made']} calls"):
        assert fact in text
    for call in facts["calls"]:
        assert f"{call['role']} {call['layer']}.{call['slot']} {call['model']}" in text


def test_one_thing_is_counted_as_one() -> None:
    assert "2 layers · 1 call ·" in format_calls(a_run(record("1.1", PRICED)))


def test_a_run_that_goes_on_says_how_to_collect_it() -> None:
    assert 'run_id="ID"' in as_markdown(Run("ID", "p", PRESET, Task("Q?")))


LACKING = replace(
    a_run(record("1.1", PRICED), record("1.2", Failure(Reason.STRAGGLER))),
    degraded=True,
    shortfalls=frozenset({Shortfall.TIE}),
)


def test_what_an_answer_lacks_is_in_the_facts() -> None:
    facts = result(LACKING)

    assert (facts["partial"], facts["degraded"]) == (True, True)
    assert facts["panel"] == {
        "asked": 2,
        "answered": 1,
        "lost": [{"slot": 2, "model": "lab/m", "reason": "left behind as the slowest of its layer"}],
        "skewed": True,
    }


def test_what_an_answer_lacks_is_above_it() -> None:
    partial, degraded, answer = [line for line in as_markdown(LACKING).splitlines() if line][:3]

    assert partial.startswith(
        "Partial: 1 draft is missing, 1 of 2 slots answered. Missing: slot 2 (lab/m): left behind"
    )
    assert degraded == "Degraded: the drafts are tied between different answers."
    assert answer == "Because."


def test_an_answer_that_lacks_nothing_or_is_not_there_has_no_notice() -> None:
    assert notice(a_run(record("1.1", PRICED))) is None
    assert notice(replace(LACKING, answer=None, status="failed")) is None


def test_a_degraded_answer_of_an_earlier_version_refers_to_its_notes() -> None:
    assert "the notes say why" in (notice(replace(LACKING, shortfalls=frozenset())) or "")


def test_many_lost_drafts_are_counted_and_the_first_are_named() -> None:
    many = a_run(*(record(f"1.{slot}", Failure(Reason.AUTH)) for slot in range(1, 65)))
    facts = result(many, extent=brief(many))

    assert "64 drafts are missing, 0 of 64 slots answered" in (notice(many) or "")
    assert "and 58 more" in (notice(many) or "")
    assert 0 < len(facts["panel"]["lost"]) < 64
    assert "lost drafts" in facts["notes"][-1]
    assert len(json.dumps(facts)) < 10_000
