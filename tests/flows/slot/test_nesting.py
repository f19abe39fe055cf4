"""A flow in a call's place: its calls have ids of their own, and its answer is the draft."""

from __future__ import annotations

from moa_mcp.domain.errors import Reason
from moa_mcp.domain.model import AGGREGATOR, Answer, Batch, ChatCall, Draft, Failure, Flow, PanelCall, Task
from moa_mcp.domain.preset import NestedPreset, Preset
from moa_mcp.flows.panel import ask_panel
from moa_mcp.flows.slot import branch_in_slot, prefix_ids
from moa_mcp.testing.playing import drive
from tests.flows.panel import a_panel, prompt_of

TASK = Task("Why is the sky blue?", seed=7)


def nested(**inner: object) -> Preset:
    """A panel whose second slot is a panel of two."""
    plan = a_panel(slots=2)
    outer = a_panel(slots=2)
    return outer.model_copy(update={"proposers": (outer.proposers[0], NestedPreset(preset="inner", plan=plan))})


def first_batch(preset: Preset) -> Batch:
    return next(ask_panel(TASK, preset))


def test_a_slot_that_is_a_panel_is_a_branch_beside_the_calls() -> None:
    batch = first_batch(nested())

    assert [call.id for call in batch.all_calls] == ["1.1", "1.2"]
    (stand_in,) = (inner.call for inner in batch.branches)
    assert (stand_in.model, stand_in.messages) == ("panel/inner", ())


def test_all_calls_in_a_branch_begin_with_its_id_and_are_in_its_place() -> None:
    (inner,) = first_batch(nested()).branches
    played = drive(inner.flow(), lambda call: f"from {call.id}")

    assert [call.id for call in played.calls] == ["1.2/1.1", "1.2/1.2", "1.2/2.1"]
    assert {(call.layer, call.slot) for call in played.calls} == {(1, 2)}
    assert played.answer.text == "from 1.2/2.1"


def test_a_branch_can_be_made_again_and_is_the_same() -> None:
    (inner,) = first_batch(nested()).branches

    assert drive(inner.flow(), lambda _: "a draft") == drive(inner.flow(), lambda _: "a draft")


def test_the_answer_of_a_branch_is_a_draft_that_the_aggregator_reads() -> None:
    flow = ask_panel(TASK, nested())
    next(flow)
    batch = flow.send([Draft("plain"), Draft("from the panel")])

    (call,) = batch.calls
    assert (call.id, call.role) == ("2.1", AGGREGATOR)
    assert "from the panel" in prompt_of(call)


def test_a_branch_that_fails_is_left_out_like_a_call() -> None:
    flow = ask_panel(TASK, nested())
    next(flow)
    batch = flow.send([Draft("plain"), Failure(Reason.PANEL, "nobody wrote")])

    assert "draft 2" not in prompt_of(batch.calls[0])
    try:
        flow.send([Draft("the answer")])
    except StopIteration as stop:
        answer: Answer = stop.value
        assert "panel/inner" in " ".join(answer.notes)


def test_a_call_within_branches_knows_them_all_and_what_it_repeats() -> None:
    def innermost() -> Flow:
        yield Batch(1, (ChatCall("a.again", "judge", 5, 5, "lab/m", (), repeat_of="a"),))
        return Answer("")

    def middle() -> Flow:
        yield Batch(1, (), (branch_in_slot("1.1", 1, 1, "deep", innermost),))
        return Answer("")

    (inner,) = next(prefix_ids(middle(), PanelCall("2.3", "proposer", 2, 3, "panel/x", ()))).branches
    (call,) = next(inner.flow()).calls

    assert inner.id == "2.3/1.1"
    assert (call.id, call.layer, call.slot) == ("2.3/1.1/a.again", 2, 3)
    assert (call.branches, call.parent, call.repeat_of) == (("2.3", "2.3/1.1"), "2.3/1.1", "2.3/1.1/a")
