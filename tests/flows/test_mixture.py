"""The paper's algorithm, played by hand."""

import pytest

from moa_mcp.domain.errors import Reason, RunFailed
from moa_mcp.domain.model import Call, Draft, Failure, Message, Task
from moa_mcp.domain.preset import Aggregator, NestedPreset, Preset, Proposer
from moa_mcp.domain.shortfalls import Shortfall
from moa_mcp.flows.mixture import mixture
from moa_mcp.flows.panel import ask_panel
from moa_mcp.testing.playing import drive
from tests.flows.panel import prompt_of
from tests.results import chats

SIX = tuple(Proposer(model=f"lab/p{number}") for number in range(1, 7))
PANEL = Preset(proposers=SIX, layers=3, aggregator=Aggregator(model="lab/agg"))
TASK = Task("Why is the sky blue?", seed=7)


def reply_to(call: Call) -> str:
    return f"<{call.id} by {call.model}>"


def test_three_layers_of_six_make_thirteen_calls_in_three_rounds() -> None:
    played = drive(ask_panel(TASK, PANEL), reply_to)

    assert [len(batch.calls) for batch in played.batches] == [6, 6, 1]
    assert played.answer.text == "<3.1 by lab/agg>"


def test_a_panel_without_stages_is_the_mixture_call_by_call() -> None:
    alone, panel = drive(mixture(TASK, PANEL), reply_to), drive(ask_panel(TASK, PANEL), reply_to)

    assert alone.batches == panel.batches
    assert alone.answer == panel.answer


def test_the_mixture_alone_knows_no_stages() -> None:
    staged = Preset.model_validate({**PANEL.model_dump(), "screen": {"by": "judge"}, "conclude": {"by": "rate"}})

    assert drive(mixture(TASK, staged), reply_to).batches == drive(mixture(TASK, PANEL), reply_to).batches


def test_one_layer_is_one_plain_call_of_the_aggregator() -> None:
    preset = Preset(layers=1, aggregator=Aggregator(model="lab/agg"))

    played = drive(ask_panel(TASK, preset), reply_to)

    assert [call.messages for call in played.calls] == [(Message("user", "Why is the sky blue?"),)]


def test_the_first_layer_gets_no_extra_prompt() -> None:
    played = drive(ask_panel(TASK, PANEL), reply_to)

    assert {call.messages for call in played.batches[0].calls} == {(Message("user", TASK.question),)}


def test_every_later_call_reads_every_draft_of_the_layer_before_in_slot_order() -> None:
    played = drive(ask_panel(TASK, PANEL), reply_to)

    for before, batch in zip(played.batches, played.batches[1:], strict=False):
        for call in batch.calls:
            places = [prompt_of(call).index(reply_to(earlier)) for earlier in before.calls]
            assert places == sorted(places)


def test_a_layer_does_not_read_the_drafts_of_the_layer_before_the_last() -> None:
    played = drive(ask_panel(TASK, PANEL), reply_to)

    assert "<1.1" not in prompt_of(played.batches[2].calls[0])


def test_the_question_is_attached_again_in_every_layer() -> None:
    played = drive(ask_panel(TASK, PANEL), reply_to)

    assert all(call.messages[-1] == Message("user", TASK.question) for call in played.calls)


def test_a_failing_proposer_leaves_no_gap_in_the_numbering() -> None:
    played = drive(ask_panel(TASK, PANEL), lambda c: Failure(Reason.AUTH) if c.id == "1.2" else reply_to(c))

    text = prompt_of(played.batches[1].calls[0])
    assert "<response 5 " in text
    assert "<response 6 " not in text
    assert text.index("<1.1") < text.index("<1.3")
    assert any("proposer 1.2 (lab/p2) left out" in note for note in played.answer.notes)


def test_samples_of_one_model_are_slots_of_their_own() -> None:
    preset = Preset(
        proposers=(Proposer(model="lab/one", samples=6, temperature=0.7),),
        aggregator=Aggregator(model="lab/one"),
    )

    played = drive(ask_panel(TASK, preset), reply_to)

    assert [call.slot for call in played.batches[0].calls] == [1, 2, 3, 4, 5, 6]
    assert len({call.id for call in played.calls}) == 7
    assert {call.temperature for call in chats(played.batches[0].calls)} == {0.7}


def test_settings_that_are_unset_stay_unset() -> None:
    call = chats(drive(ask_panel(TASK, PANEL), reply_to).calls)[0]

    assert (call.temperature, call.max_tokens, call.effort) == (None, None, None)


def test_a_temperature_next_to_zero_is_asked_for_as_zero() -> None:
    preset = Preset(layers=1, aggregator=Aggregator(model="lab/agg", temperature=0.00001))

    assert chats(drive(ask_panel(TASK, preset), reply_to).calls)[0].temperature == 0


def test_a_failing_aggregator_is_followed_by_its_fallbacks_in_order() -> None:
    preset = PANEL.model_copy(update={"aggregator": Aggregator(model="lab/agg", fallbacks=("lab/b", "lab/c"))})

    played = drive(
        ask_panel(TASK, preset), lambda c: Failure(Reason.EMPTY) if c.model in ("lab/agg", "lab/b") else reply_to(c)
    )

    assert [call.model for call in played.calls[-3:]] == ["lab/agg", "lab/b", "lab/c"]
    assert played.answer.text.endswith("by lab/c>")
    assert not played.answer.degraded


def test_without_an_aggregator_the_best_draft_is_the_answer_and_says_so() -> None:
    played = drive(ask_panel(TASK, PANEL), lambda c: Failure(Reason.EMPTY) if c.role == "aggregator" else reply_to(c))

    assert played.answer.degraded
    assert played.answer.text in {reply_to(call) for call in played.batches[1].calls}
    assert "the answer is the best single draft" in played.answer.notes


def test_without_ranks_the_draft_most_like_the_others_is_the_answer_and_not_the_longest() -> None:
    texts = ["Light scatters at short waves.", "Cheese. " * 200, "Light scatters more at short waves."]

    def reply(call: Call) -> str | Failure:
        return Failure(Reason.EMPTY) if call.role == "aggregator" else texts[call.slot % 3]

    assert drive(ask_panel(TASK, PANEL), reply).answer.text in (texts[0], texts[2])


def test_a_whole_draft_stands_in_before_a_longer_one_that_was_cut() -> None:
    def reply(call: Call) -> str | Draft | Failure:
        if call.role == "aggregator":
            return Failure(Reason.EMPTY)
        return Draft("a long one that breaks o", cut=True) if call.slot == 1 else "short"

    assert drive(ask_panel(TASK, PANEL), reply).answer.text == "short"


def test_all_proposers_failing_is_an_error_that_names_each_cause() -> None:
    causes = {"1.1": Reason.AUTH, "1.2": Reason.BILLING}

    with pytest.raises(RunFailed) as failed:
        drive(ask_panel(TASK, PANEL), lambda c: Failure(causes.get(c.id, Reason.RATE_LIMITED)))

    assert len(failed.value.causes) == 6
    assert "lab/p1" in str(failed.value)
    assert "refused the key" in str(failed.value)
    assert "no credit" in str(failed.value)


def test_too_few_drafts_in_a_later_layer_leave_the_answer_to_the_layer_before() -> None:
    played = drive(ask_panel(TASK, PANEL), lambda c: Failure(Reason.TIMEOUT) if c.layer == 2 else reply_to(c))

    assert played.answer.degraded
    assert "<1.6 by lab/p6>" in prompt_of(played.batches[-1].calls[0])


def only_the_first(call: Call) -> str | Failure:
    """All proposers but the first are down."""
    return reply_to(call) if call.slot == 1 or call.role == "aggregator" else Failure(Reason.TIMEOUT)


def test_one_draft_of_many_gives_an_answer_that_is_degraded_and_partial() -> None:
    preset = PANEL.model_copy(update={"min_drafts": 2})

    answer = drive(ask_panel(TASK, preset), only_the_first).answer

    assert (answer.shortfalls, len(answer.lost)) == (frozenset({Shortfall.TOO_FEW_DRAFTS}), 5)
    assert "layer 1 gave 1 of the 2 drafts that min_drafts asks for" in answer.notes


def test_fewer_drafts_than_required_in_the_first_layer_are_an_error() -> None:
    preset = PANEL.model_copy(update={"require_drafts": 2})

    with pytest.raises(RunFailed, match="1 of the 2 drafts it needs") as failed:
        drive(ask_panel(TASK, preset), only_the_first)

    assert len(failed.value.causes) == 5


def test_a_panel_that_refuses_to_be_partial_ends_before_its_next_layer_and_names_what_is_missing() -> None:
    preset = PANEL.model_copy(update={"on_partial": "refuse"})
    asked: list[Call] = []

    def reply(call: Call) -> str | Failure:
        asked.append(call)
        return Failure(Reason.RATE_LIMITED) if call.slot == 3 else reply_to(call)

    with pytest.raises(RunFailed, match="on_partial is refuse") as failed:
        drive(ask_panel(TASK, preset), reply)

    assert {call.layer for call in asked} == {1}
    assert failed.value.causes == ("slot 3 (lab/p3): rate limited",)


def test_a_panel_that_refuses_to_be_partial_answers_where_nothing_is_missing() -> None:
    preset = PANEL.model_copy(update={"on_partial": "refuse"})

    assert not drive(ask_panel(TASK, preset), reply_to).answer.partial


def test_a_panel_in_a_slot_refuses_to_be_partial_if_the_outer_one_does() -> None:
    inner = NestedPreset(preset="inner", plan=PANEL)
    outer = PANEL.model_copy(update={"proposers": (*PANEL.proposers, inner), "on_partial": "refuse"})
    (branch,) = next(ask_panel(TASK, outer)).branches

    with pytest.raises(RunFailed, match="on_partial is refuse"):
        drive(branch.flow(), only_the_first)


def test_the_callers_system_text_and_history_are_in_every_call() -> None:
    task = Task("And at dusk?", system="Be brief.", history=(Message("user", "a"), Message("assistant", "b")))

    played = drive(ask_panel(task, PANEL), reply_to)

    for call in played.calls:
        assert call.messages[0].text.partition("\n\n")[0] == "Be brief."
        assert call.messages[1:] == (*task.history, Message("user", "And at dusk?"))


def test_guidance_is_the_drafts_and_calls_no_aggregator() -> None:
    played = drive(ask_panel(Task("Why?", output="guidance"), PANEL), reply_to)

    assert {call.role for call in played.calls} == {"proposer"}
    assert all(reply_to(call) in played.answer.text for call in played.batches[1].calls)


def test_guidance_names_what_is_missing_and_no_other_model() -> None:
    task = Task("Why?", output="guidance")

    text = drive(
        ask_panel(task, PANEL), lambda c: Failure(Reason.TIMEOUT) if c.slot == 2 else f"from {c.id}"
    ).answer.text

    assert text.endswith("Missing from the panel: slot 2 (lab/p2): no answer in time.")
    assert "lab/p1" not in text


def test_each_layer_has_to_end_before_the_time_of_the_next_one() -> None:
    preset = PANEL.model_copy(update={"layers": 5, "aggregator": Aggregator(model="lab/a", fallbacks=("lab/b",))})

    played = drive(ask_panel(TASK, preset), lambda c: Failure(Reason.EMPTY) if c.role == "aggregator" else reply_to(c))

    ends = [batch.until for batch in played.batches]
    assert ends == sorted(ends)
    assert ends[3] == pytest.approx(0.6)
    assert ends[-1] == 1


def test_the_same_task_asks_for_the_same_calls_every_time() -> None:
    assert drive(ask_panel(TASK, PANEL), reply_to) == drive(ask_panel(TASK, PANEL), reply_to)


def test_a_note_says_that_an_answer_ran_out_of_tokens() -> None:
    played = drive(
        ask_panel(TASK, PANEL), lambda c: Draft(reply_to(c), finish_reason="length") if c.id == "3.1" else reply_to(c)
    )

    assert "aggregator 3.1 (lab/agg) ran out of tokens and stops early" in played.answer.notes
