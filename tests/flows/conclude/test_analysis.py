"""Analysis: where the drafts agree, clash and fall short is written down before the answer."""

from typing import Any

import pytest

from moa_mcp.domain.errors import Reason, RunFailed
from moa_mcp.domain.model import Failure
from moa_mcp.domain.preset import Preset
from moa_mcp.flows.panel import ask_panel
from moa_mcp.flows.planning.dry_run import dry_run
from moa_mcp.prompts.judge import PARTS
from moa_mcp.testing.playing import Played, drive
from tests.flows.judge import FakeReply, as_json, candidates, judged
from tests.flows.panel import MERGED, TASK, a_panel, draft_of, is_plain, packaged, prompt_of, with_role

PANEL = a_panel(slots=3, conclude={"by": "analysis"})
FOUND: dict[str, Any] = {
    "agreement": ["All name scattering."],
    "contradictions": ["A says ozone, B denies it."],
    "partial_coverage": [],
    "unique_points": ["C gives the exponent."],
    "blind_spots": ["Nobody explains why it is not violet."],
}


def analysed(reply: FakeReply, preset: Preset = PANEL) -> Played:
    return judged(lambda _: reply, preset)


def facts_of(played: Played) -> dict[str, Any]:
    facts: dict[str, Any] = played.answer.method["analysis"]
    assert is_plain(facts)
    return facts


def test_the_analysis_is_in_the_result_in_its_five_parts() -> None:
    facts = facts_of(analysed(as_json(**FOUND)))

    assert {part: facts[part] for part in PARTS} == FOUND
    assert facts["how"] == "first try"


def test_the_letters_it_speaks_of_are_explained() -> None:
    played = analysed(as_json(**FOUND))

    letters = facts_of(played)["letters"]
    assert {letter: draft_of(slot) for letter, slot in letters.items()} == candidates(
        with_role(played.calls, "analyst")[0]
    )


def test_the_aggregator_reads_every_statement_beside_the_drafts() -> None:
    played = analysed(as_json(**FOUND))

    text = prompt_of(played.calls[-1])
    assert "Candidate A is draft 1, B is draft 2, C is draft 3." in text
    assert "Blind spots:\n- Nobody explains why it is not violet." in text
    assert "Partial coverage:\n- none" in text
    assert all(draft_of(slot) in text for slot in (1, 2, 3))
    assert played.answer.text == MERGED


def test_it_costs_one_call_and_one_round_more() -> None:
    played = analysed(as_json(**FOUND))

    assert [call.id for call in played.calls] == ["1.1", "1.2", "1.3", "2.analyst", "2.1"]
    assert len(played.batches) == 3


@pytest.mark.parametrize(
    "reply",
    [
        f"Gladly.\n```json\n{as_json(**FOUND)}\n```\nShall I go on?",
        as_json(**{part.replace("_", " ").title(): reply for part, reply in FOUND.items()}),
        as_json(thoughts="many", **FOUND),
    ],
)
def test_an_analysis_is_read_leniently(reply: str) -> None:
    assert facts_of(analysed(reply))["agreement"] == FOUND["agreement"]


def test_a_part_may_be_one_statement_or_have_structure_of_its_own() -> None:
    reply = as_json(
        **{
            **FOUND,
            "agreement": "All name scattering.",
            "contradictions": [{"A": "yes", "B": "no"}, 3],
            "blind_spots": None,
        }
    )

    facts = facts_of(analysed(reply))

    assert facts["agreement"] == ["All name scattering."]
    assert facts["contradictions"] == ['{"A": "yes", "B": "no"}', "3"]
    assert facts["blind_spots"] == []


def test_a_rambling_analysis_is_cut_to_size() -> None:
    facts = facts_of(analysed(as_json(**{**FOUND, "agreement": ["x" * 5_000] * 50})))

    assert len(facts["agreement"]) == 20
    assert {len(statement) for statement in facts["agreement"]} == {1_000}


@pytest.mark.parametrize(
    "reply", ["", "They mostly agree.", as_json(agreement=["All."]), "[]", Failure(Reason.OVERLOADED)]
)
def test_without_an_analysis_the_drafts_are_merged_plainly_and_the_answer_says_so(reply: FakeReply) -> None:
    played = analysed(reply)
    plain = judged(lambda _: "", a_panel(slots=3))

    assert played.calls[-1].messages == plain.calls[-1].messages
    assert (played.answer.text, played.answer.degraded) == (MERGED, True)
    assert any("there is no analysis" in note for note in played.answer.notes)
    assert "agreement" not in facts_of(played)


def test_what_comes_out_of_form_is_asked_for_once_more() -> None:
    played = analysed("They mostly agree.")

    assert [call.id for call in with_role(played.calls, "analyst")] == ["2.analyst", "2.analyst.again"]


def test_without_any_draft_there_is_an_error() -> None:
    with pytest.raises(RunFailed):
        drive(ask_panel(TASK, PANEL), lambda _: Failure(Reason.UNAVAILABLE))


def test_the_same_seed_gives_the_same_run() -> None:
    assert analysed(as_json(**FOUND)) == analysed(as_json(**FOUND))


def test_the_packaged_preset_makes_n_and_two_calls_in_three_rounds() -> None:
    planned = dry_run(ask_panel(TASK, packaged("fusion")))

    assert (planned.calls, planned.rounds) == (3 + 2, 3)
