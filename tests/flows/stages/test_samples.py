"""Samples of one model that are copies of one another are reported."""

from moa_mcp.domain.model import Call
from moa_mcp.flows.panel import ask_panel
from moa_mcp.testing.playing import drive
from tests.flows.panel import TASK, a_panel, packaged


def test_samples_that_are_all_the_same_are_counted_as_one_and_noted() -> None:
    played = drive(ask_panel(TASK, packaged("self-moa")), lambda _: "always the same")

    assert played.answer.method["unique_samples"] == 1
    assert any("5 of 6 samples" in note and "copies" in note for note in played.answer.notes)


def test_samples_that_differ_are_counted_and_nothing_is_noted() -> None:
    played = drive(ask_panel(TASK, packaged("self-moa")), lambda call: f"draft {call.id}")

    assert played.answer.method["unique_samples"] == 6
    assert played.answer.notes == ()


def test_two_models_that_write_the_same_are_no_samples_of_one() -> None:
    played = drive(ask_panel(TASK, a_panel()), lambda _: "always the same")

    assert "unique_samples" not in played.answer.method


def test_copies_are_noted_for_each_model_separately() -> None:
    preset = a_panel().model_validate(
        {
            "proposers": [{"model": "lab/one", "samples": 2}, {"model": "lab/two", "samples": 2}],
            "aggregator": "lab/agg",
        }
    )

    def reply(call: Call) -> str:
        return "the same" if call.model == "lab/one" else f"draft {call.id}"

    played = drive(ask_panel(TASK, preset), reply)

    assert played.answer.method["unique_samples"] == 3
    assert next(note for note in played.answer.notes if "copies" in note).startswith("1 of 2 samples of lab/one")
