"""Critique: one review of all drafts, which the aggregator reads beside them."""

import pytest

from moa_mcp.domain.errors import Reason
from moa_mcp.domain.model import Call, Draft, Failure
from moa_mcp.domain.preset import Preset
from moa_mcp.flows.panel import ask_panel
from moa_mcp.flows.planning.dry_run import dry_run
from moa_mcp.testing.playing import Played, drive
from tests.flows.judge import FakeReply, candidates, judged, with_judge
from tests.flows.panel import MERGED, TASK, a_panel, draft_of, is_plain, packaged, prompt_of, with_role
from tests.results import chats

PANEL = a_panel(slots=3, conclude={"by": "critique"})
REVIEW = "Candidate A forgets the ozone."


def reviewed(reply: FakeReply, preset: Preset = PANEL) -> Played:
    return judged(lambda _: reply, preset)


def test_the_critic_sees_each_draft_once_and_no_copies_fill_up() -> None:
    (call,) = with_role(reviewed(REVIEW).calls, "critic")

    assert sorted(candidates(call).values()) == [draft_of(1), draft_of(2), draft_of(3)]
    assert "lab/" not in prompt_of(call)


def test_the_review_reaches_the_aggregator_with_the_drafts_and_the_question() -> None:
    played = reviewed(REVIEW)

    text = prompt_of(played.calls[-1])
    assert TASK.question in text
    assert REVIEW in text
    assert all(draft_of(slot) in text for slot in (1, 2, 3))
    assert played.answer.text == MERGED


def test_it_costs_one_call_and_one_round_more() -> None:
    played = reviewed(REVIEW)

    assert [[call.id for call in batch.calls] for batch in played.batches] == [
        ["1.1", "1.2", "1.3"],
        ["2.critic"],
        ["2.1"],
    ]


def test_the_aggregator_reads_which_draft_a_letter_names() -> None:
    played = reviewed(REVIEW)

    shown = candidates(with_role(played.calls, "critic")[0])
    text = prompt_of(played.calls[-1])
    assert "Candidate A is draft 1, B is draft 2, C is draft 3." in text
    for number, letter in enumerate("ABC", start=1):
        assert f"<response {number} {TASK.nonce}>\n{shown[letter]}\n" in text


def test_in_the_papers_style_the_review_follows_the_numbered_drafts() -> None:
    played = reviewed(REVIEW, PANEL.model_copy(update={"prompt_style": "paper"}))

    shown = candidates(with_role(played.calls, "critic")[0])
    system = played.calls[-1].messages[0]
    assert f"\n1. {shown['A']}\n2. {shown['B']}\n3. {shown['C']}\n\nA critic" in system.text
    assert system.text.endswith(REVIEW)


def test_the_facts_have_the_letters_and_the_outcome() -> None:
    played = reviewed(REVIEW)

    facts = played.answer.method["critique"]
    assert is_plain(facts)
    assert facts["how"] == "first try"
    assert {letter: draft_of(slot) for letter, slot in facts["letters"].items()} == candidates(
        with_role(played.calls, "critic")[0]
    )


def test_a_review_that_was_cut_is_said_and_not_passed_on_as_whole() -> None:
    cut = reviewed(Draft(REVIEW, finish_reason="length"))
    whole = reviewed(REVIEW)

    assert any(note.startswith("the critique ") for note in cut.answer.notes)
    assert f"{REVIEW}\n\n(The review breaks off here" in prompt_of(cut.calls[-1])
    assert "breaks off" not in prompt_of(whole.calls[-1])
    assert not whole.answer.notes


@pytest.mark.parametrize("reply", [" \n", Failure(Reason.REFUSED)])
def test_without_a_review_the_drafts_are_merged_plainly_and_the_answer_says_so(reply: FakeReply) -> None:
    played = reviewed(reply)
    plain = judged(lambda _: "", a_panel(slots=3))

    assert played.calls[-1].messages == plain.calls[-1].messages
    assert (played.answer.text, played.answer.degraded) == (MERGED, True)
    assert any("there is no critique" in note for note in played.answer.notes)


def test_the_critic_leaves_the_aggregator_and_its_fallbacks_time() -> None:
    preset = a_panel(conclude={"by": "critique"}, aggregator={"model": "lab/agg", "fallbacks": ["lab/b"]})

    def failing(call: Call) -> FakeReply:
        return Failure(Reason.EMPTY) if call.role == "aggregator" else with_judge(lambda _: REVIEW)(call)

    ends = [batch.until for batch in drive(ask_panel(TASK, preset), failing).batches]

    assert ends == pytest.approx([0.6, 0.8, 0.96, 1.0])


def test_a_critic_of_its_own_is_asked_with_its_own_settings() -> None:
    preset = a_panel(conclude={"by": "critique", "model": {"model": "lab/critic", "temperature": 0.1}})

    (call,) = chats(with_role(reviewed(REVIEW, preset).calls, "critic"))

    assert (call.model, call.temperature) == ("lab/critic", 0.1)


def test_the_same_seed_gives_the_same_run() -> None:
    assert reviewed(REVIEW) == reviewed(REVIEW)


def test_the_packaged_preset_makes_n_and_two_calls_in_three_rounds() -> None:
    planned = dry_run(ask_panel(TASK, packaged("critique")))

    assert (planned.calls, planned.rounds) == (5, 3)
