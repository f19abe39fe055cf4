"""Gate: the question chooses its proposers, their instructions and their weights."""

import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from moa_mcp.domain.errors import Reason, RunFailed
from moa_mcp.domain.model import Call, ChatCall, Draft, EmbedCall, Failure, Message, Task
from moa_mcp.domain.preset import Preset
from moa_mcp.flows.panel import ask_panel
from moa_mcp.flows.planning.dry_run import dry_run
from moa_mcp.flows.route.gate import Gate, count_to_share, probabilities
from moa_mcp.testing.playing import Played, Reply, drive
from tests.flows.judge import FakeReply, as_json, candidates, with_judge
from tests.flows.panel import MERGED, TASK, a_panel, draft_of, is_plain, packaged, prompt_of, role_texts, with_role

LONG = "It scatters blue light more than red light, as any physicist will tell you on any day. " * 4


def gated(slots: int = 4, layers: int = 2, **route: Any) -> Preset:
    return a_panel(slots, layers, route={"by": "gate", "model": "lab/gate", **route})


def scoring(*scores: float) -> Reply:
    """A router that scores slot 1, 2 … and instructs each; all others say the usual."""

    def judge(call: Call) -> FakeReply:
        letters = {text: letter for letter, text in candidates(call).items()}
        slots = {
            letters[f"model: lab/p{number}"]: {"score": score, "instruction": f"Attend to point {number}."}
            for number, score in enumerate(scores, start=1)
        }
        return as_json(slots=slots)

    return with_judge(judge)


def drafting(texts: dict[int, FakeReply], reply: Reply) -> Reply:
    """`reply`, but the proposers of these slots say these texts."""
    return lambda call: texts[call.slot] if call.role == "proposer" and call.slot in texts else reply(call)


def run(preset: Preset, reply: Reply, task: Task = TASK) -> Played:
    return drive(ask_panel(task, preset), reply)


def asked_slots(played: Played) -> list[int]:
    return [call.slot for call in with_role(played.calls, "proposer")]


def facts_of(played: Played) -> Any:
    facts = played.answer.method["route"]
    assert is_plain(facts)
    return facts


def test_a_peaked_gate_makes_one_draft_the_answer_without_an_aggregator() -> None:
    played = run(gated(), scoring(0, 10, 0, 0))

    assert [call.id for call in played.calls] == ["1.router", "1.2"]
    assert played.answer.text == draft_of(2)
    assert not played.answer.degraded


def test_a_flat_gate_asks_as_many_as_it_may() -> None:
    assert asked_slots(run(gated(share=1.0), scoring(5, 5, 5, 5))) == [1, 2, 3, 4]
    assert asked_slots(run(gated(share=1.0, at_most=3), scoring(5, 5, 5, 5))) == [1, 2, 3]


def test_even_a_peaked_gate_asks_as_many_as_it_must() -> None:
    assert asked_slots(run(gated(at_least=2), scoring(0, 1, 0, 10))) == [4, 2]


@given(st.lists(st.floats(0, 10), min_size=1, max_size=8), st.floats(0, 1), st.floats(0, 1))
def test_a_larger_share_never_asks_fewer(scores: list[float], one: float, other: float) -> None:
    shares = sorted(probabilities(scores, 1.0), reverse=True)
    less, more = (count_to_share(shares, Gate(by="gate", share=share)) for share in sorted((one, other)))

    assert 1 <= less <= more <= len(scores)


def test_sharpness_makes_the_best_weigh_more() -> None:
    blunt, sharp = probabilities([5, 4], 0.1), probabilities([5, 4], 5)

    assert blunt[0] < sharp[0]
    assert abs(sum(sharp) - 1) < 1e-9


def test_an_instruction_is_only_in_the_prompt_of_its_slot_after_the_role_of_the_preset() -> None:
    proposers = [{"model": "lab/p1", "role": "You check units."}, "lab/p2", "lab/p3"]
    preset = a_panel(proposers=proposers, route={"by": "gate", "model": "lab/gate", "share": 1})
    plain = scoring(5, 5, 5)

    def reply(call: Call) -> FakeReply:
        text = call.messages[0].text
        shown = text.replace("\nrole: You check units.", "")
        return plain(ChatCall(call.id, call.role, 1, call.slot, call.model, (Message("user", shown),)))

    played = run(preset, reply)
    assert role_texts(with_role(played.calls, "proposer")) == [
        "You check units.\n\nAttend to point 1.",
        "Attend to point 2.",
        "Attend to point 3.",
    ]
    assert "Attend to" not in str(with_role(played.calls, "aggregator"))


def test_roles_and_instructions_stand_together_and_roles_are_only_for_who_is_asked_or_waits() -> None:
    preset = gated(slots=3, at_most=2, share=0.5).model_copy(update={"roles": a_panel(roles={"task": "Physics"}).roles})
    gate = scoring(0, 10, 5)

    def reply(call: Call) -> FakeReply:
        return as_json(roles=["You are a teacher.", "You are a pupil."]) if call.role == "roles" else gate(call)

    played = run(preset, reply)
    (drafted,) = with_role(played.calls, "proposer")
    assert role_texts([drafted]) == ["Attend to point 2.\n\nYou are a teacher."]
    assert [call.role for call in played.calls] == ["router", "roles", "proposer"]


def test_the_aggregator_reads_the_heaviest_draft_first_with_all_weights() -> None:
    played = run(gated(share=1, at_most=3, sharpness=0.2), scoring(2, 6, 4, 0))

    (call,) = with_role(played.calls, "aggregator")
    text = prompt_of(call)
    assert re.findall(r"the draft of slot (\d)", text) == ["2", "3", "1"]
    percents = [int(found) for found in re.findall(r"draft \d (\d+) %", text)]
    assert percents == sorted(percents, reverse=True)
    assert 99 <= sum(percents) <= 101


def test_the_facts_have_the_chosen_slots_and_the_reason_and_call_this_an_analogue() -> None:
    facts = facts_of(run(gated(share=0.9, at_most=3), scoring(0, 6, 6, 5)))

    assert (facts["by"], facts["chosen"], facts["waiting"]) == ("gate", [2, 3, 4], [])
    assert list(facts["weights"]) == ["2", "3", "4", "1"]
    assert facts["instructions"]["2"] == "Attend to point 2."
    assert "analogue of DMoE" in facts["is"]


def test_a_near_copy_is_left_out_and_wakes_exactly_one_more() -> None:
    played = run(gated(share=0.6), drafting({1: LONG, 2: LONG}, scoring(6, 6, 5, 4)))

    facts = facts_of(played)
    assert asked_slots(played) == [1, 2, 3]
    assert (facts["chosen"], facts["copies"], facts["woken"]) == ([1, 2], {"2": 1}, [3])
    assert facts["similarity"] == "lexical"
    text = prompt_of(with_role(played.calls, "aggregator")[0])
    assert text.count(LONG) == 1
    assert draft_of(3) in text
    assert any("slot 2 is nearly that of slot 1" in note for note in played.answer.notes)


def test_copies_are_compared_again_by_calls_of_their_own_after_each_waking() -> None:
    reply = drafting({1: LONG, 2: LONG}, scoring(6, 6, 5, 4))
    task = replace(TASK, embeddings="lab/embed")

    def embedding(call: Call) -> FakeReply:
        return Failure(Reason.TIMEOUT) if isinstance(call, EmbedCall) else reply(call)

    played = run(gated(share=0.6), embedding, task)
    assert [call.id for call in with_role(played.calls, "embedder")] == ["1.embedder.copies.0", "1.embedder.copies.1"]
    assert sum("compared by their words" in note for note in played.answer.notes) == 1
    assert asked_slots(played) == [1, 2, 3]


def test_equal_short_drafts_agree_and_are_not_replaced() -> None:
    played = run(gated(share=0.6), drafting({1: "42", 2: "42"}, scoring(6, 6, 5, 4)))

    assert asked_slots(played) == [1, 2]
    assert "copies" not in facts_of(played)


def test_a_reserve_slot_that_copies_too_is_replaced_by_the_next_until_none_is_left() -> None:
    copies: dict[int, FakeReply] = dict.fromkeys((1, 2, 3, 4), LONG)
    played = run(gated(share=0.6), drafting(copies, scoring(6, 6, 5, 4)))

    assert [len(batch.calls) for batch in played.batches] == [1, 2, 1, 1, 1]
    assert facts_of(played)["copies"] == {"2": 1, "3": 1, "4": 1}


def test_no_reserve_slot_is_asked_beyond_at_most() -> None:
    played = run(gated(share=0.6, at_most=2), drafting({1: LONG, 2: LONG}, scoring(6, 6, 5, 4)))

    assert asked_slots(played) == [1, 2]
    assert played.answer.text == MERGED


def test_the_woken_have_their_instructions_and_less_time_than_all_of_it() -> None:
    played = run(gated(share=0.6), drafting({1: LONG, 2: LONG}, scoring(6, 6, 5, 4)))

    assert role_texts(with_role(played.calls, "proposer"))[2] == "Attend to point 3."
    shares = [batch.until for batch in played.batches]
    assert shares == sorted(set(shares))


def test_of_several_layers_the_first_wakes_and_the_woken_stay_in_the_place_of_the_copy() -> None:
    played = run(gated(layers=3, share=0.6), drafting({1: LONG, 2: LONG}, scoring(6, 6, 5, 4)))

    assert [call.id for call in with_role(played.calls, "proposer")] == ["1.1", "1.2", "1.3", "2.1", "2.3"]


def test_where_the_only_chosen_one_fails_the_next_in_line_is_woken() -> None:
    played = run(gated(), drafting({2: Failure(Reason.TIMEOUT)}, scoring(0, 10, 1, 0)))

    assert asked_slots(played) == [2, 3]
    assert (played.answer.text, played.answer.degraded) == (MERGED, False)


def test_where_all_fail_the_error_names_each() -> None:
    everybody: dict[int, FakeReply] = dict.fromkeys((1, 2, 3, 4), Failure(Reason.TIMEOUT))
    with pytest.raises(RunFailed) as failed:
        run(gated(), drafting(everybody, scoring(0, 10, 1, 0)))

    assert len(failed.value.causes) == 4


def test_a_part_of_the_only_draft_is_left_to_the_aggregator() -> None:
    played = run(gated(), drafting({2: Draft("half", cut=True)}, scoring(0, 10, 0, 0)))

    assert played.answer.text == MERGED


@pytest.mark.parametrize(
    "reply",
    ["", "no", "{", as_json(slots={}), as_json(slots=7), as_json(slots={"A": "high"}), as_json(slots={"A": True}),
     as_json(slots={"Q": 5}), '{"slots": {"A": NaN}}', as_json(scores={"A": 1}), as_json(slots=[1, 2])],
)  # fmt: skip
def test_a_gate_that_says_nothing_usable_is_asked_again_and_then_all_take_part(reply: str) -> None:
    played = run(gated(), with_judge(lambda _: reply))

    assert [call.id for call in with_role(played.calls, "router")] == ["1.router", "1.router.again"]
    assert asked_slots(played) == [1, 2, 3, 4]
    assert facts_of(played)["how"] == "out of form"
    assert any("all slots take part" in note for note in played.answer.notes)
    assert "weight" not in prompt_of(with_role(played.calls, "aggregator")[0])


def test_without_its_gate_all_take_part() -> None:
    assert asked_slots(run(gated(), with_judge(lambda _: Failure(Reason.BILLING)))) == [1, 2, 3, 4]


@pytest.mark.parametrize(
    "reply",
    [
        '{"slots": {"X": 9}}',
        '{"slots": {"Candidate X": {"score": "9/10"}}}',
        '{"slots": [{"slot": "X", "score": 9, "instruction": null}]}',
        '{"slots": {"X": {"score": 99}}}',
        'My scores: {"Slots": {"X": 9}} and that is all.',
    ],
)
def test_scores_are_read_leniently(reply: str) -> None:
    def judge(call: Call) -> str:
        letter = next(letter for letter, text in candidates(call).items() if text == "model: lab/p3")
        return reply.replace("X", letter)

    assert run(gated(), with_judge(judge)).answer.text == draft_of(3)


def test_the_gate_sees_the_question_as_data_and_what_each_slot_is_for() -> None:
    proposers = [{"model": "lab/p1", "skills": ["law", "tax"], "role": "You are terse."}, "lab/p2"]
    preset = a_panel(proposers=proposers, route={"by": "gate", "model": "lab/gate"})
    (call,) = with_role(run(preset, with_judge(lambda _: "")).calls, "router")[:1]

    assert sorted(candidates(call).values()) == [
        "model: lab/p1\nrole: You are terse.\nskills: law, tax",
        "model: lab/p2",
    ]
    assert f"<message {TASK.nonce}>\n{TASK.question}" in call.messages[0].text


SKILLED = [
    {"model": "lab/p1", "skills": ["algebra", "proofs"]},
    {"model": "lab/p2", "skills": ["French law"]},
    {"model": "lab/p3"},
]


@pytest.mark.parametrize(
    ("question", "slots"),
    [
        ("Is this PROOF right?", [1]),
        ("What does French law say of the laws?", [2]),
        ("What does French cuisine owe to butter?", [1, 2, 3]),
        ("Give an algebraic proof", [1]),
        ("", [1, 2, 3]),
    ],
)
def test_by_rules_the_words_of_the_question_choose_by_skills(question: str, slots: list[int]) -> None:
    preset = a_panel(proposers=SKILLED, route={"by": "gate"})

    played = run(preset, with_judge(lambda _: Failure(Reason.INTERNAL)), Task(question, seed=7))

    assert asked_slots(played) == slots
    assert with_role(played.calls, "router") == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"route": {"by": "gate", "at_most": 5}}, "only 4 slots"),
        ({"route": {"by": "gate", "at_least": 5}}, "only 4 slots"),
        ({"route": {"by": "gate"}, "layers": 1}, "chooses among proposers"),
    ],
)
def test_a_gate_with_impossible_numbers_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        a_panel(**changes)


def test_guidance_of_a_peaked_gate_is_its_one_draft() -> None:
    played = run(gated(), scoring(0, 10, 0, 0), Task("Q?", output="guidance", seed=7))

    assert played.answer.text.count("the draft of slot") == 1


def test_the_same_seed_gives_the_same_run() -> None:
    assert run(gated(), scoring(3, 3, 4, 4)) == run(gated(), scoring(3, 3, 4, 4))


def test_the_packaged_preset_asks_at_most_a_gate_and_what_it_takes_to_reach_its_share() -> None:
    planned = dry_run(ask_panel(TASK, packaged("gated")))

    assert (planned.calls, planned.rounds) == (1 + 5 + 1, 3)


def test_if_no_model_can_write_the_answer_the_heaviest_draft_is_it() -> None:
    def reply(call: Call) -> FakeReply:
        return Failure(Reason.OVERLOADED) if call.role == "aggregator" else scoring(4, 4, 6, 4)(call)

    assert drive(ask_panel(TASK, gated(share=0.99)), reply).answer.text == draft_of(3)
