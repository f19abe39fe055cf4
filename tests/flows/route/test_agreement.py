"""Agreement: a cascade from samples of a small model to the panel."""

from typing import Any

import pytest

from moa_mcp.domain.errors import Reason, RunFailed
from moa_mcp.domain.model import Call, Draft, Failure, Message, Task
from moa_mcp.domain.preset import Preset
from moa_mcp.flows.panel import ask_panel
from moa_mcp.flows.planning.dry_run import dry_run
from moa_mcp.prompts.panel import CLOSING_LINE
from moa_mcp.testing.playing import Played, Reply, drive
from tests.flows.judge import FakeReply, Judge, as_json, candidates
from tests.flows.panel import MERGED, TASK, a_panel, draft_of, is_plain, packaged, prompt_of, with_role
from tests.results import chats

PROSE = "It scatters blue light more than red,\nas a prism does."
CHEESE = "Nobody can say why, for the moon\nis made of cheese."


def cascade(layers: int = 2, **route: Any) -> Preset:
    easy = {"model": "lab/small", "temperature": 0.7}
    return a_panel(3, layers, route={"by": "agreement", "easy": easy, **route})


def sampling(*samples: FakeReply) -> Reply:
    def reply(call: Call) -> FakeReply:
        if call.role == "sampler":
            return samples[call.slot - 1]
        return draft_of(call.slot) if call.role == "proposer" else MERGED

    return reply


def run(*samples: FakeReply, preset: Preset | None = None, task: Task = TASK) -> Played:
    return drive(ask_panel(task, preset or cascade(samples=len(samples))), sampling(*samples))


def read_by(call: Call) -> str:
    return prompt_of(call)


def test_samples_that_agree_are_the_answer_and_the_panel_is_not_asked() -> None:
    played = run("It is 42.", r"\boxed{42}", "Final answer: 42")

    assert [(call.id, call.role, call.model) for call in played.calls] == [
        (f"1.sample.{number}", "sampler", "lab/small") for number in (1, 2, 3)
    ]
    assert (played.answer.text, played.answer.degraded) == ("It is 42.", False)
    assert played.answer.method["route"] == {
        "by": "agreement", "samples": 3, "agreement": 1.0, "of": "answers", "to": "lab/small",
    }  # fmt: skip


def test_samples_that_differ_call_the_panel_whose_first_layer_reads_the_best_one() -> None:
    played = run("41", "It is 42.", "Final answer: 42", preset=cascade(layers=3))

    for call in with_role(played.calls, "proposer"):
        assert ("It is 42." in read_by(call)) == (call.layer == 1)
    assert "<response 1 " in read_by(with_role(played.calls, "proposer")[0])
    assert played.answer.text == MERGED
    assert played.answer.method["route"]["to"] == "panel"
    assert played.answer.method["route"]["agreement"] == 0.6667


LISTS = [
    "About gardening:\n\n1. soil\n2. water\n3. light",
    "About accounting:\n\n1. ledgers\n2. tax\n3. audit",
    "About astronomy:\n\n1. stars\n2. planets\n3. dust",
]
STANCES = [
    "Yes, it is safe: the study of 2021 found no harm.",
    "No, it is dangerous, as shown in 2021.",
    "It cannot be told; the data end in 2021.",
]
WORDINGS = ["The capital of France is Paris.", "Paris is the capital of France.", "It's Paris."]
FRANCE = Task("What is the capital of France?", seed=7)


def comparing(*samples: FakeReply, judge: Judge, task: Task = TASK, **route: Any) -> Played:
    inner = sampling(*samples)
    preset = cascade(samples=len(samples), **route)
    return drive(ask_panel(task, preset), lambda call: judge(call) if call.role == "comparer" else inner(call))


def alone(call: Call) -> str:
    return as_json(groups=[[letter] for letter in candidates(call)])


def together(call: Call) -> str:
    return as_json(groups=[list(candidates(call))])


@pytest.mark.parametrize("samples", [LISTS, STANCES])
def test_samples_that_say_different_things_never_agree(samples: list[str]) -> None:
    assert comparing(*samples, judge=alone).answer.text == MERGED
    assert comparing(*samples, judge=lambda _: "no form").answer.text == MERGED


def test_a_yes_and_a_no_never_agree_whatever_a_judge_says() -> None:
    played = comparing(*STANCES, judge=together)

    assert played.answer.text == MERGED
    assert not played.answer.degraded
    assert with_role(played.calls, "comparer") == []


@pytest.mark.parametrize("task", [FRANCE, TASK])
def test_three_wordings_of_one_answer_agree(task: Task) -> None:
    played = comparing(*WORDINGS, judge=together, task=task)

    assert played.answer.text == WORDINGS[0]
    assert not played.answer.degraded


def test_wordings_that_repeat_the_question_need_no_judge() -> None:
    assert [call.role for call in comparing(*WORDINGS, judge=alone, task=FRANCE).calls] == ["sampler"] * 3


def test_the_small_model_judges_unless_the_preset_names_another() -> None:
    played = [comparing(*LISTS, judge=together), comparing(*LISTS, judge=together, model="lab/judge")]

    assert [with_role(one.calls, "comparer")[0].model for one in played] == ["lab/small", "lab/judge"]
    assert played[0].answer.method["route"]["agreement"] == 1.0


def test_how_much_agreement_is_enough_is_the_presets_choice() -> None:
    played = run("41", "It is 42.", "Final answer: 42", preset=cascade(agree=0.66))

    assert played.answer.text == "It is 42."


def test_open_texts_agree_if_they_are_equal() -> None:
    alike = run(PROSE, PROSE, PROSE)
    unlike = run(PROSE, PROSE, CHEESE)

    assert alike.answer.text == PROSE
    assert alike.answer.method["route"]["of"] == "texts"
    assert [call.role for call in alike.calls] == ["sampler"] * 3
    assert unlike.answer.text == MERGED
    assert PROSE in read_by(with_role(unlike.calls, "proposer")[0])
    assert is_plain(unlike.answer.method)


@pytest.mark.parametrize(
    "failure", [Failure(Reason.TIMEOUT), Draft("42", cut=True), Draft("42", finish_reason="length")]
)
@pytest.mark.parametrize("reply", ["42", PROSE])
def test_a_failed_sample_agrees_with_no_other(reply: str, failure: FakeReply) -> None:
    played = run(reply, reply, failure)

    assert played.answer.text == MERGED
    assert played.answer.method["route"]["samples"] == 2


def test_a_single_sample_is_no_agreement() -> None:
    gone = Failure(Reason.TIMEOUT)

    assert run("42", gone, gone).answer.text == MERGED


def test_without_any_sample_the_panel_answers_from_nothing() -> None:
    played = run(*[Failure(Reason.BILLING)] * 3)

    assert {call.messages for call in with_role(played.calls, "proposer")} == {
        (Message("user", f"{TASK.question}\n\n{CLOSING_LINE}"),)
    }
    assert any("no sample of the small model" in note for note in played.answer.notes)


def test_if_the_panel_fails_the_answer_of_the_small_model_is_used() -> None:
    def reply(call: Call) -> FakeReply:
        return Failure(Reason.TIMEOUT) if call.role in {"proposer", "aggregator"} else sampling("1", "2", "3")(call)

    played = drive(ask_panel(TASK, cascade()), reply)

    assert (played.answer.text, played.answer.degraded) == ("1", True)


def test_where_all_fail_there_is_an_error() -> None:
    with pytest.raises(RunFailed):
        drive(ask_panel(TASK, cascade()), lambda _: Failure(Reason.TIMEOUT))


def test_all_samples_are_asked_alike() -> None:
    calls = chats(run("1", "1", "1").calls)

    assert {(call.messages, call.temperature) for call in calls} == {(calls[0].messages, 0.7)}


def test_samples_that_agree_pay_for_no_roles_and_leave_time_for_a_panel() -> None:
    preset = cascade().model_copy(update={"roles": a_panel(roles={"task": "Physics"}).roles})
    played = run("1", "1", "1", preset=preset)

    assert len(played.batches) == 1
    assert played.batches[0].until < 0.5


def test_guidance_of_samples_that_agree_is_one_draft() -> None:
    played = run("It is 1.", "1", "1", task=Task("Q?", output="guidance"))

    assert "It is 1." in played.answer.text
    assert with_role(played.calls, "aggregator") == []


def test_the_same_samples_give_the_same_run() -> None:
    assert run("1", "2", PROSE) == run("1", "2", PROSE)


def test_the_packaged_preset_makes_eleven_calls_in_four_rounds_at_most() -> None:
    planned = dry_run(ask_panel(TASK, packaged("cascade")))

    assert (planned.calls, planned.rounds) == (11, 4)
