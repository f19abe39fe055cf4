"""Tree search: answers are refined where the judge's values lead, and the best by value is the draft."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from moa_mcp.domain.errors import Reason, RunFailed
from moa_mcp.domain.model import Call, Draft, Failure, Task
from moa_mcp.flows.panel import ask_panel
from moa_mcp.flows.planning.dry_run import bounds, dry_run
from moa_mcp.flows.slot.tree_search import TreeSearch, tree_search
from moa_mcp.flows.state import State
from moa_mcp.prompts.solver import REVISED
from moa_mcp.testing.playing import Played, Reply, drive
from tests.flows.judge import FakeReply, as_json, candidates
from tests.flows.panel import is_plain, packaged, with_role
from tests.results import chats

TASK = Task("Why is the sky blue?", seed=7)


def a_search(reply: Reply, **settings: object) -> Played:
    spec = TreeSearch.model_validate({"method": "tree-search", "model": "lab/m", **settings})
    return drive(tree_search(TASK, State(()), spec), reply)


def judging(value: Callable[[int], FakeReply]) -> Reply:
    """The root is reply 0, the nth refinement reply n; `value` says what the judge says of each."""

    def reply(call: Call) -> FakeReply:
        if call.role == "judge":
            (shown,) = candidates(call).values()
            return value(int(shown.removeprefix("reply ")))
        return "reply 0" if call.role == "searcher" else f"It is too short.\n{REVISED}\nreply {call.id.split('.')[1]}"

    return reply


@pytest.mark.parametrize("favourite", range(7))
def test_the_judges_favourite_is_the_answer_at_any_place_in_the_tree(favourite: int) -> None:
    played = a_search(judging(lambda number: as_json(score=9 if number == favourite else 0)))

    assert played.answer.text == f"reply {favourite}"
    assert not played.answer.degraded


@pytest.mark.parametrize("favourite", range(3))
def test_two_simulations_are_enough_to_heed_the_judge(favourite: int) -> None:
    played = a_search(judging(lambda number: as_json(score=9 if number == favourite else 0)), simulations=2)

    assert played.answer.text == f"reply {favourite}"


def test_it_makes_two_calls_and_two_more_for_each_simulation() -> None:
    assert len(a_search(judging(lambda _: as_json(score=5))).calls) == 14
    assert len(a_search(judging(lambda _: as_json(score=5)), simulations=3).calls) == 8


def test_of_equals_the_earlier_wins_unless_another_was_visited_more() -> None:
    assert a_search(judging(lambda _: as_json(score=5))).answer.text == "reply 0"


def test_the_descent_goes_through_all_levels_and_keeps_to_width_and_depth() -> None:
    played = a_search(judging(lambda number: as_json(score=min(9, number))), simulations=20, width=2, depth=3)
    above = played.answer.method["tree_search"]["refined_from"]

    def depth(number: int) -> int:
        return 0 if above[number] is None else 1 + depth(above[number])

    assert max(map(depth, range(len(above)))) == 3
    assert max(above[1:].count(parent) for parent in above[1:]) == 2
    assert len(above) == 1 + 2 + 4 + 8
    assert played.answer.method["tree_search"]["ended"] == "the tree is full"


def test_two_replies_of_high_value_end_the_search() -> None:
    played = a_search(judging(lambda number: as_json(score=10 if number in (1, 2) else 5)))

    assert len(with_role(played.calls, "refiner")) == 2
    assert played.answer.method["tree_search"]["ended"] == "two replies were good enough"


def test_the_search_goes_on_from_the_better_reply() -> None:
    played = a_search(judging(lambda number: as_json(score=8 if number == 2 else 1)), simulations=4, exploration=0)

    assert played.answer.method["tree_search"]["refined_from"] == [None, 0, 0, 2, 2]


def test_the_refiner_reads_the_reply_and_the_judges_remarks_and_the_judge_sees_no_marker() -> None:
    played = a_search(judging(lambda number: as_json(reason=f"flaw {number}", score=5)))

    first = with_role(played.calls, "refiner")[0].messages[-1].text
    assert "reply 0" in first
    assert "flaw 0" in first
    assert first.startswith(TASK.question)
    assert all(REVISED not in call.messages[-1].text for call in with_role(played.calls, "judge"))


def test_the_judge_is_asked_at_temperature_0_and_may_be_another_model() -> None:
    own = a_search(judging(lambda _: as_json(score=5)), temperature=0.7)
    other = a_search(judging(lambda _: as_json(score=5)), judge={"model": "lab/judge", "temperature": 0.3})

    assert {(call.model, call.temperature) for call in chats(with_role(own.calls, "judge"))} == {("lab/m", 0.0)}
    assert {call.temperature for call in chats(with_role(own.calls, "refiner"))} == {0.7}
    assert {(call.model, call.temperature) for call in chats(with_role(other.calls, "judge"))} == {("lab/judge", 0.3)}


def test_a_judgement_out_of_form_is_asked_for_once_more_and_its_reply_is_never_the_best() -> None:
    played = a_search(judging(lambda number: "splendid" if number == 3 else as_json(score=1)))
    facts = played.answer.method["tree_search"]

    assert sum(call.id.endswith(".again") for call in played.calls) == 1
    assert (facts["values"][3], facts["unread"]) == (None, 1)
    assert played.answer.text != "reply 3"
    assert "out of form" in " ".join(played.answer.notes)


def test_without_any_judgement_the_first_reply_is_the_answer_and_marked() -> None:
    answer = a_search(judging(lambda _: "splendid")).answer

    assert (answer.text, answer.degraded) == ("reply 0", True)


def test_a_refinement_that_fails_costs_its_simulation_only() -> None:
    inner = judging(lambda number: as_json(score=number))
    played = a_search(lambda call: Failure(Reason.OVERLOADED) if call.id == "refine.6" else inner(call))

    assert played.answer.text == "reply 5"
    assert "overloaded" in " ".join(played.answer.notes)


def test_when_its_time_is_up_it_answers_with_the_best_so_far() -> None:
    inner = judging(lambda number: as_json(score=number))
    played = a_search(lambda call: Failure(Reason.DEADLINE) if call.id == "refine.2" else inner(call))

    assert played.answer.text == "reply 1"
    assert played.answer.method["tree_search"]["ended"] == "its time was up"
    assert played.answer.degraded
    assert "the search made 1 of 6 refinements: its time was up" in played.answer.notes


def revising(said: FakeReply, again: FakeReply = "still without it") -> Played:
    """A search of one refinement: the reviser says `said`, and `again` if it is asked once more."""
    inner = judging(lambda number: as_json(score=number, reason="short"))
    replies = {"refine.1": said, "refine.1.again": again}
    return a_search(lambda call: replies.get(call.id) or inner(call), simulations=1)


@pytest.mark.parametrize("line", ["**=== Revised reply ===**", "## Revised reply:", f"So: {REVISED}"])
def test_the_line_is_found_as_models_write_it(line: str) -> None:
    assert revising(f"Weaknesses: it is short.\n{line}\n\nreply 1").answer.text == "reply 1"


def test_a_reviser_that_leaves_out_the_line_is_asked_again_and_its_new_reply_counts() -> None:
    played = revising("Weaknesses: it is short.\n\nreply 1", f"Weaknesses: none.\n{REVISED}\nreply 1")

    assert [call.repeat_of for call in with_role(played.calls, "refiner")] == [None, "refine.1"]
    assert (played.answer.text, played.answer.degraded) == ("reply 1", False)


@pytest.mark.parametrize(
    ("said", "asked"),
    [
        ("Weaknesses: it is short.", 2),
        (f"Weaknesses: it is short.\n{REVISED}\n", 2),
        (Draft("Weaknesses: it is", finish_reason="length"), 1),
        (Draft("Weaknesses: it is", cut=True), 1),
    ],
)
def test_a_list_of_weaknesses_is_never_the_answer(said: FakeReply, asked: int) -> None:
    played = revising(said)

    assert played.answer.text == "reply 0"
    assert len(with_role(played.calls, "refiner")) == asked
    assert "refinement 1 of the search has no new reply and was left out" in played.answer.notes


def test_without_remarks_the_reviser_is_not_told_of_an_examiner() -> None:
    silent = a_search(judging(lambda _: as_json(score=5)))
    spoken = a_search(judging(lambda _: as_json(score=5, reason="short")))

    assert "examiner" not in with_role(silent.calls, "refiner")[0].messages[-1].text
    assert "what an examiner said of it" in with_role(spoken.calls, "refiner")[0].messages[-1].text


def test_without_a_first_reply_the_search_fails() -> None:
    with pytest.raises(RunFailed, match="no first reply"):
        a_search(lambda _: Failure(Reason.AUTH))


def test_the_facts_are_plain_and_hold_no_text_of_a_reply() -> None:
    facts = a_search(judging(lambda _: as_json(score=5))).answer.method

    assert is_plain(facts)
    assert "reply" not in json.dumps(facts["tree_search"]["values"])


def test_the_same_seed_gives_the_same_search() -> None:
    reply = judging(lambda number: as_json(score=number % 4))

    assert a_search(reply) == a_search(reply)


def test_the_packaged_preset_makes_14_calls_if_all_goes_on_and_4_if_it_ends_at_once() -> None:
    preset = packaged("tree-search")
    planned = dry_run(ask_panel(TASK, preset))
    found = bounds(lambda: ask_panel(TASK, preset))

    assert (planned.calls, planned.rounds) == (14, 14)
    assert (found.least_calls, found.most_calls) == (4, 27)  # each judgement and each refinement may be asked again
