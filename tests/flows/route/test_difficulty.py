"""Difficulty: easy questions go to one model, hard ones to the panel."""

from typing import Any

import pytest

from moa_mcp.domain.errors import Reason
from moa_mcp.domain.model import Call, Draft, Failure, Message, Task
from moa_mcp.domain.preset import Preset
from moa_mcp.flows.panel import ask_panel
from moa_mcp.flows.planning.dry_run import dry_run
from moa_mcp.flows.route.difficulty import signs_of_difficulty
from moa_mcp.testing.playing import Played, drive
from tests.flows.judge import FakeReply, as_json
from tests.flows.panel import MERGED, TASK, a_panel, draft_of, is_plain, with_role
from tests.results import chats


def routed(layers: int = 2, **route: Any) -> Preset:
    easy = {"model": "lab/small", "role": "Be brief.", "max_tokens": 99}
    return a_panel(3, layers, route={"by": "difficulty", "easy": easy, "model": "lab/router", **route})


def run(said: FakeReply, preset: Preset | None = None, easy: FakeReply = "easy answer", task: Task = TASK) -> Played:
    def reply(call: Call) -> FakeReply:
        if call.role == "router":
            return said
        if call.model == "lab/small":
            return easy
        return draft_of(call.slot) if call.role == "proposer" else MERGED

    return drive(ask_panel(task, preset or routed()), reply)


def panel_answered(played: Played) -> bool:
    return played.answer.text == MERGED and len(with_role(played.calls, "proposer")) == 3


@pytest.mark.parametrize("level", [1, 2])
def test_an_easy_question_is_answered_by_one_model(level: int) -> None:
    played = run(as_json(difficulty=level))

    assert [(call.id, call.model) for call in played.calls] == [("1.router", "lab/router"), ("1.easy", "lab/small")]
    assert (played.answer.text, played.answer.degraded) == ("easy answer", False)
    assert played.answer.method["route"] == {
        "by": "difficulty", "difficulty": level, "how": "first try", "to": "lab/small",
    }  # fmt: skip


@pytest.mark.parametrize("level", [3, 4, 5])
def test_a_hard_question_is_answered_by_the_panel(level: int) -> None:
    played = run(as_json(difficulty=level))

    assert panel_answered(played)
    assert with_role(played.calls, "easy") == []
    assert played.answer.method["route"]["to"] == "panel"
    assert is_plain(played.answer.method)


def test_where_hard_begins_is_the_presets_choice() -> None:
    assert run(as_json(difficulty=4), routed(hard_from=5)).answer.text == "easy answer"
    assert panel_answered(run(as_json(difficulty=2), routed(hard_from=2)))


@pytest.mark.parametrize(
    "reply", ["", "hard to say", as_json(difficulty=0), as_json(difficulty=9), as_json(level=1), "{"]
)
def test_a_difficulty_that_cannot_be_read_is_asked_for_again_and_then_takes_the_hard_path(reply: str) -> None:
    played = run(reply)

    assert panel_answered(played)
    assert len(with_role(played.calls, "router")) == 2
    assert played.answer.method["route"]["difficulty"] is None
    assert any("difficulty could not be determined" in note for note in played.answer.notes)


def test_without_its_router_the_panel_answers() -> None:
    assert panel_answered(run(Failure(Reason.OVERLOADED)))


@pytest.mark.parametrize("reply", ["1", "2/5", "Difficulty: 1", "I rate it. difficulty is 2", '{"difficulty": "2"}'])
def test_a_difficulty_is_read_leniently(reply: str) -> None:
    assert run(reply).answer.text == "easy answer"


@pytest.mark.parametrize(
    "failure", [Failure(Reason.TIMEOUT), Draft("half", cut=True), Draft("a", finish_reason="length")]
)
def test_where_the_easy_model_gives_no_whole_answer_the_panel_does(failure: FakeReply) -> None:
    played = run(as_json(difficulty=1), easy=failure)

    assert panel_answered(played)
    assert not played.answer.degraded
    assert played.answer.method["route"]["to"] == "panel"


def test_the_easy_model_gets_the_callers_own_conversation_and_its_settings() -> None:
    task = Task("And at dusk?", system="Be kind.", history=(Message("user", "Why blue?"), Message("assistant", "!")))
    call = chats(run(as_json(difficulty=1), task=task).calls)[-1]

    assert call.messages[:-1] == (Message("system", "Be kind.\n\nBe brief."), *task.history)
    assert call.messages[-1].text.startswith(task.question)
    assert (call.max_tokens, call.role) == (99, "aggregator")


def test_time_is_left_for_a_panel_after_the_easy_model() -> None:
    assert [batch.until < 0.5 for batch in run(as_json(difficulty=1)).batches] == [True, True]


def test_an_easy_question_pays_for_no_roles() -> None:
    preset = routed().model_copy(update={"roles": a_panel(roles={"task": "Physics"}).roles})

    assert with_role(run(as_json(difficulty=1), preset).calls, "roles") == []


def test_one_layer_makes_a_router_between_two_models() -> None:
    preset = routed(layers=1)

    assert run(as_json(difficulty=1), preset).answer.text == "easy answer"
    assert [call.role for call in run(as_json(difficulty=5), preset).calls] == ["router", "aggregator"]


def test_guidance_on_an_easy_question_is_its_one_draft() -> None:
    played = run(as_json(difficulty=1), task=Task("Q?", output="guidance"))

    assert "easy answer" in played.answer.text
    assert played.answer.text != "easy answer"
    assert played.calls[-1].role == "solo"


@pytest.mark.parametrize(
    ("question", "signs"),
    [
        ("What is the capital of France?", []),
        ("x" * 300, ["long"]),
        ("x" * 2_000, ["long", "very long"]),
        ("Why does `foo()` fail?", ["code"]),
        ("Solve 3x + 4 = 10", ["mathematics"]),
        ("Compare tea and coffee", ["reasoning"]),
        ("Who was he? And who was she?", ["several parts"]),
        ("Do this:\n1. Wash\n2. Dry", ["several parts"]),
        ("", []),
    ],
)
def test_by_rules_length_and_form_make_a_question_harder(question: str, signs: list[str]) -> None:
    assert signs_of_difficulty(question) == signs


def test_by_rules_no_model_is_asked_about_the_difficulty() -> None:
    preset = routed(model=None)
    hard = Task("Prove that 2x + 1 = 7 has one solution. Is it whole? Is it prime?")

    assert [call.id for call in run("", preset).calls] == ["1.easy"]
    assert panel_answered(run("", preset, task=hard))
    assert run("", preset, task=hard).answer.method["route"]["signs"] == ["mathematics", "reasoning", "several parts"]


@pytest.mark.parametrize(
    "question",
    [
        "Is P = NP?",
        "Is P=NP",
        "Докажите гипотезу Римана.",
        "证明哥德巴赫猜想。",
        "Beweise die Goldbachsche Vermutung.",
        "Démontrez l'hypothèse de Riemann.",
        "أثبت فرضية ريمان",
        "रीमान परिकल्पना सिद्ध करें",
        "Prove the Goldbach conjecture.",
        "What is the proof of the Riemann hypothesis?",
        "Are there infinitely many twin primes?",
        "Hi! Докажите гипотезу Римана.",
        "",
    ],
)
def test_by_rules_what_is_not_seen_to_be_easy_goes_to_the_panel(question: str) -> None:
    assert panel_answered(run("", routed(model=None), task=Task(question)))


@pytest.mark.parametrize(
    "question",
    [
        "What is the capital of France?",
        "Who wrote Faust?",
        "How do you spell it?",
        "Hello!",
        "What's 2 + 2?",
        "hi there",
    ],
)
def test_by_rules_a_plain_question_is_answered_by_one_model(question: str) -> None:
    assert [call.id for call in run("", routed(model=None), task=Task(question)).calls] == ["1.easy"]


@pytest.mark.parametrize(
    ("part", "sign"),
    [
        ("?", []),
        ("\n", []),
        ("1. \n", ["several parts"]),
        ("3 ", []),
        ("{ ", ["code"]),
        ("f(", []),
        ("\\", []),
        ("- a", []),
    ],
)
def test_no_question_takes_long_to_judge(part: str, sign: list[str]) -> None:
    assert signs_of_difficulty(part * 10_000) == ["long", "very long", *sign]


def test_a_rehearsal_takes_the_hard_path() -> None:
    planned = dry_run(ask_panel(TASK, routed()))

    assert (planned.calls, planned.rounds) == (1 + 3 + 1, 3)
