"""RMoA: what a layer changed is extracted, slot by slot, and passed on; a layer that changes nothing is the last."""

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from moa_mcp.domain.errors import Reason
from moa_mcp.domain.model import Call, Draft, Failure
from moa_mcp.domain.preset import Preset
from moa_mcp.flows.panel import ask_panel
from moa_mcp.flows.planning.dry_run import dry_run
from moa_mcp.flows.stages.residual import read_residual
from moa_mcp.testing.playing import Played, drive
from tests.flows.judge import FakeReply
from tests.flows.panel import TASK, a_panel, is_plain, packaged, prompt_of, with_role
from tests.results import embeddings

YES = "Residuals Detected: Yes\nModel 1: names the wavelength\nModel 3: lost the proof"
NO = "Residuals Detected: No"
GARBAGE = "The second round says more about dust."


def rmoa(layers: int = 4, **stages: Any) -> Preset:
    """Three proposers; `layers` proposer layers, the last of which the aggregator ends."""
    chosen = {"residual": {}, "stop": {"by": "residual"}} | stages
    return a_panel(slots=3, layers=layers + 1, **chosen)


def played_with(extractor: Callable[[Call], FakeReply], preset: Preset | None = None, **failing: FakeReply) -> Played:
    """Drafts name their layer and slot; `failing` says, by role, who says something else."""

    def reply(call: Call) -> FakeReply:
        if call.role in failing:
            return failing[call.role]
        if call.role == "proposer":
            return f"draft {call.layer} of {call.slot}"
        return extractor(call) if call.role == "extractor" else f"written in {call.id}"

    return drive(ask_panel(TASK, preset or rmoa()), reply)


def drafts_in(call: Call) -> list[str]:
    return re.findall(r"^draft \d of \d$", "\n".join(message.text for message in call.messages), re.MULTILINE)


@pytest.mark.parametrize("layers", [1, 2, 3, 4])
def test_with_residuals_all_layers_run_and_calls_come_to_the_formula(layers: int) -> None:
    played = played_with(lambda _: YES, rmoa(layers))

    assert len(played.calls) == layers * 3 + 1 + 2 * (layers - 1)
    assert len(played.batches) == 2 + 3 * (layers - 1)
    assert dry_run(ask_panel(TASK, rmoa(layers))).calls == len(played.calls)


@pytest.mark.parametrize("last", [2, 3])
def test_a_layer_without_residual_is_the_last(last: int) -> None:
    played = played_with(lambda call: NO if call.layer == last else YES)

    assert len(played.calls) == last * 3 + 1 + 2 * (last - 1)
    assert played.answer.method["stopped"]["layer"] == last
    assert played.answer.text == "written in 5.1"


def test_two_calm_layers_in_a_row_can_be_asked_for() -> None:
    says = {2: NO, 3: YES, 4: NO, 5: NO, 6: YES}

    played = played_with(lambda call: says[call.layer], rmoa(6, stop={"by": "residual", "layers": 2}))

    assert played.answer.method["stopped"]["layer"] == 5


def test_without_a_rule_to_stop_all_layers_run() -> None:
    played = played_with(lambda _: NO, rmoa(3, stop=None))

    assert len(with_role(played.calls, "proposer")) == 9


def test_the_extractor_sees_each_slots_two_drafts_side_by_side() -> None:
    played = played_with(lambda _: YES)

    prompt = with_role(played.calls, "extractor")[0].messages[0].text
    shown = re.findall(r"<(\w+) reply of Model (\d) \w+>\n(.*)\n", prompt)
    assert shown == [
        (when, str(slot), f"draft {layer} of {slot}")
        for slot in (1, 2, 3)
        for when, layer in (("earlier", 1), ("later", 2))
    ]
    assert "lab/p" not in prompt


def test_the_slots_that_were_kept_are_compared_with_their_own_later_drafts_kept_or_not() -> None:
    first, later = embeddings([1, 0], [1, 0.1], [0, 1]), embeddings([0, 1], [1, 0], [1, 0.1])

    def reply(call: Call) -> FakeReply:
        if call.role == "embedder":
            return first if call.layer == 1 else later
        return YES if call.role == "extractor" else f"draft {call.layer} of {call.slot}"

    preset = rmoa(3, screen={"by": "diversity", "keep": 2}, stop=None)
    played = drive(ask_panel(replace(TASK, embeddings="lab/embed"), preset), reply)

    kept = [entry["kept"] for entry in played.answer.method["screen"]]
    assert kept[:2] == [[1, 3], [1, 2]]
    prompt = prompt_of(with_role(played.calls, "extractor")[0])
    assert re.findall(r"<(\w+) reply of Model (\d)", prompt) == [
        ("earlier", "1"), ("later", "1"), ("earlier", "3"), ("later", "3"),
    ]  # fmt: skip
    proposer = prompt_of(next(call for call in played.calls if call.id == "3.1"))
    merger = prompt_of(next(call for call in played.calls if call.id == "2.merger"))
    assert "those of the last round" in proposer
    assert "No draft of model 3 is shown." in proposer
    assert "those before the last round" in merger
    assert "is shown" not in merger


def test_without_a_slot_that_wrote_twice_nothing_is_extracted() -> None:
    vectors = embeddings([1, 0], [1, 0.1], [0, 1])

    def reply(call: Call) -> FakeReply:
        if call.role == "embedder":
            return vectors
        return Failure(Reason.AUTH) if call.id in {"2.1", "2.3"} else f"draft {call.layer} of {call.slot}"

    preset = rmoa(2, screen={"by": "diversity", "keep": 2}, stop=None)
    played = drive(ask_panel(replace(TASK, embeddings="lab/embed"), preset), reply)

    assert with_role(played.calls, "extractor") == []
    assert drafts_in(played.calls[-1]) == ["draft 2 of 2"]


@pytest.mark.parametrize(
    "text",
    [
        "No residuals.",
        "no residuals detected",
        "None.",
        "**No**",
        "There are no significant changes.",
        '{"residual_answer":"No"}',
        '```json\n{"Residuals Detected": "no", "details": ""}\n```',
        '{"residual_answer": false}',
    ],
)
def test_a_layer_without_a_change_is_read_in_other_words_too(text: str) -> None:
    found = read_residual(text)

    assert found is not None
    assert (found.detected, found.details) == (False, "")


def test_a_change_is_read_from_an_object_too() -> None:
    found = read_residual('{"residual_answer": "Yes", "residual_details": "Model 1: names the wavelength"}')

    assert found is not None
    assert (found.detected, found.details) == (True, "Model 1: names the wavelength")


@pytest.mark.parametrize("text", ["No residuals, but Model 1 changed.", '{"residual_answer": "maybe"}', "Nothing new."])
def test_what_may_be_a_change_is_not_read_as_none(text: str) -> None:
    assert read_residual(text) is None


def test_slots_stay_paired_where_one_is_missing() -> None:
    def reply(call: Call) -> FakeReply:
        if call.id == "2.2":
            return Failure(Reason.AUTH)
        return YES if call.role == "extractor" else f"draft {call.layer} of {call.slot}"

    played = drive(ask_panel(TASK, rmoa(2)), reply)

    prompt = with_role(played.calls, "extractor")[0].messages[0].text
    assert re.findall(r"<(\w+ reply of Model \d)", prompt) == [
        "earlier reply of Model 1",
        "later reply of Model 1",
        "earlier reply of Model 3",
        "later reply of Model 3",
    ]


def test_the_next_layer_reads_its_own_drafts_and_the_residual() -> None:
    played = played_with(lambda _: YES)

    for call in played.calls:
        if call.role == "proposer" and call.layer == 3:
            assert drafts_in(call) == [f"draft 2 of {slot}" for slot in (1, 2, 3)]
            assert "Model 3: lost the proof" in prompt_of(call)


def test_an_aggregator_reads_the_drafts_of_the_layer_before_and_the_residual() -> None:
    played = played_with(lambda _: YES, rmoa(3))

    readers = {call.id: call for call in played.calls if call.role in {"merger", "aggregator"}}
    assert list(readers) == ["1.merger", "2.merger", "4.1"]
    assert [drafts_in(call)[0] for call in readers.values()] == ["draft 1 of 1", "draft 1 of 1", "draft 2 of 1"]
    assert ["lost the proof" in prompt_of(call) for call in readers.values()] == [False, True, True]


def test_an_aggregator_reads_what_was_kept_and_not_what_was_dropped() -> None:
    vectors = {1: embeddings([1, 0], [1, 0.1], [0, 1]), 2: embeddings([1, 0], [0, 1], [1, 0.1])}

    def reply(call: Call) -> FakeReply:
        if call.role == "embedder":
            return vectors[call.layer]
        return YES if call.role == "extractor" else f"draft {call.layer} of {call.slot}"

    preset = rmoa(2, screen={"by": "diversity", "keep": 2})
    played = drive(ask_panel(replace(TASK, embeddings="lab/embed"), preset), reply)

    kept = [entry["kept"] for entry in played.answer.method["screen"]]
    assert kept[0] != [1, 2, 3]
    assert drafts_in(played.calls[-1]) == [f"draft 1 of {slot}" for slot in kept[0]]
    assert "Here, " + ", ".join(f"draft {place} is by model {slot}" for place, slot in enumerate(kept[0], 1)) in (
        prompt_of(played.calls[-1])
    )


def test_a_missing_status_does_not_stop_the_layers_and_its_raw_text_is_the_residual() -> None:
    played = played_with(lambda _: GARBAGE, rmoa(3))

    assert len(with_role(played.calls, "proposer")) == 9
    assert [call.id for call in with_role(played.calls, "extractor")] == [
        "2.extractor",
        "2.extractor.again",
        "3.extractor",
        "3.extractor.again",
    ]
    assert GARBAGE in prompt_of(played.calls[-1])
    assert any("has no status (out of form): it was passed on as it is" in note for note in played.answer.notes)


def test_a_second_try_in_good_form_counts() -> None:
    played = played_with(lambda call: NO if call.id.endswith("again") else GARBAGE)

    assert played.answer.method["stopped"]["layer"] == 2
    assert played.answer.method["residual"][0]["how"] == "second try"


def test_without_an_extractor_the_layers_are_plain_ones_and_that_is_flagged() -> None:
    played = played_with(lambda _: Failure(Reason.TIMEOUT), rmoa(2))

    assert drafts_in(played.calls[-1]) == [f"draft 2 of {slot}" for slot in (1, 2, 3)]
    assert "What the last round changed" not in prompt_of(played.calls[-1])
    assert played.answer.degraded
    assert any("no model extracted the residual of layer 2" in note for note in played.answer.notes)


def test_the_aggregation_of_an_earlier_layer_is_the_answer_if_no_later_one_succeeds() -> None:
    played = played_with(lambda _: YES, rmoa(3), aggregator=Failure(Reason.TIMEOUT))

    assert played.answer.text == "written in 2.merger"
    assert played.answer.degraded


def test_a_merger_that_fails_or_stops_early_costs_the_run_nothing() -> None:
    early = Draft("half an", finish_reason="length")

    for reply in (Failure(Reason.TIMEOUT), early):
        played = played_with(lambda _: YES, rmoa(3), merger=reply)
        assert (played.answer.text, played.answer.degraded) == ("written in 4.1", False)


def test_guidance_is_not_merged_by_any_model() -> None:
    played = drive(
        ask_panel(replace(TASK, output="guidance"), rmoa(3)),
        lambda call: YES if call.role == "extractor" else f"draft {call.layer} of {call.slot}",
    )

    assert "draft 3 of 1" in played.answer.text
    assert {call.role for call in played.calls} == {"proposer", "extractor"}


def test_an_end_that_chooses_among_drafts_has_those_of_the_last_layer() -> None:
    played = played_with(lambda _: YES, rmoa(2, conclude={"by": "vote"}))

    assert played.answer.text.startswith("draft 2 of")
    assert {call.role for call in played.calls} == {"proposer", "extractor", "comparer"}


@pytest.mark.parametrize("layers", [2, 4, 9])
def test_calls_of_later_stages_have_time_left(layers: int) -> None:
    preset = rmoa(layers, screen={"by": "diversity", "keep": 2})
    task = replace(TASK, embeddings="lab/embed")

    played = drive(ask_panel(task, preset), lambda call: YES if call.role == "extractor" else f"by {call.id}")

    ends = [batch.until for batch in played.batches]
    assert ends == sorted(ends)
    assert len(set(ends)) == len(ends)


@pytest.mark.parametrize(
    ("text", "detected", "details"),
    [
        (YES, True, "Model 1: names the wavelength\nModel 3: lost the proof"),
        ("**Residuals Detected:** No.\nNothing changed.", False, ""),
        ("Well: residuals detected: YES - Model 2: new", True, "Model 2: new"),
        ("Residual detected: yes", True, ""),
    ],
)
def test_a_status_line_is_read_with_any_text_around_it(text: str, detected: bool, details: str) -> None:
    found = read_residual(text)

    assert found is not None
    assert (found.detected, found.details) == (detected, details)


@pytest.mark.parametrize(
    "text", ["", "Status: yes", "Residuals Detected: maybe", f"{YES}\n{NO}", "Residuals Detected: Nope"]
)
def test_without_a_status_or_with_both_nothing_is_read(text: str) -> None:
    assert read_residual(text) is None


def test_the_facts_name_what_changed_without_the_texts() -> None:
    method = played_with(lambda _: YES, rmoa(2)).answer.method

    assert method["residual"] == [{"layer": 2, "detected": True, "how": "first try", "models": ["1", "3"]}]
    assert is_plain(method)


def test_the_packaged_preset_has_the_calls_it_says() -> None:
    preset = packaged("rmoa")

    assert dry_run(ask_panel(TASK, preset)).calls == 4 * 6 + 1 + 2 * 3
    assert len(played_with(lambda _: NO, preset).calls) == 2 * 6 + 3
