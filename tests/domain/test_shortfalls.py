"""The summary of a panel: who was asked, who answered, who is missing, and whether the missing are the better ones."""

from __future__ import annotations

import pytest

from moa_mcp.domain.errors import Reason
from moa_mcp.domain.model import CallRecord, ChatCall, Draft, Failure, Outcome, Run, Task
from moa_mcp.domain.shortfalls import LostDraft, merge_lost, summarize_panel
from tests.flows.panel import a_panel

PRICES = {"lab/dear": 5e-6, "lab/cheap": 1e-6}


def lost(model: str, reason: Reason = Reason.RATE_LIMITED, slot: int = 2) -> LostDraft:
    return LostDraft(slot, model, reason)


def record(slot: int, outcome: Outcome, layer: int = 1, role: str = "proposer") -> CallRecord:
    return CallRecord(ChatCall(f"{layer}.{role}.{slot}", role, layer, slot, f"lab/p{slot}", ()), outcome, 1.0)


def run_of(*records: CallRecord, **fields: object) -> Run:
    return Run("r", "panel", a_panel(3), Task("Why?"), calls=records, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("missing", "answered", "skewed"),
    [
        (lost("lab/dear"), "lab/cheap", True),
        (lost("lab/cheap"), "lab/dear", False),
        (lost("lab/cheap"), "lab/cheap", False),
        (lost("lab/unknown"), "lab/cheap", False),
        (lost("lab/dear"), "lab/unknown", False),
        (lost("lab/cheap", Reason.STRAGGLER), "lab/dear", True),
        (lost("lab/unknown", Reason.TIMEOUT), "lab/unknown", True),
    ],
)
def test_a_panel_is_skewed_if_the_lost_are_the_dearer_or_the_slower(
    missing: LostDraft, answered: str, skewed: bool
) -> None:
    assert summarize_panel({1: answered}, [missing], PRICES).skewed is skewed


def test_nothing_lost_is_not_skewed() -> None:
    assert summarize_panel({1: "lab/dear"}, [], PRICES).skewed is False


def test_a_slot_counts_once_for_all_layers_and_answered_only_if_it_always_did() -> None:
    down = Failure(Reason.RATE_LIMITED)
    panel = run_of(
        record(1, Draft("a")), record(2, down), record(1, Draft("a"), 2), record(2, Draft("b"), 2), record(3, down, 2)
    ).panel

    assert (panel.asked, panel.answered) == (3, 1)
    assert [str(one) for one in panel.lost] == ["slot 2 (lab/p2): rate limited", "slot 3 (lab/p3): rate limited"]


def test_a_slot_whose_panel_lost_a_draft_has_answered() -> None:
    panel = run_of(record(1, Draft("a")), lost=(lost("lab/inner", slot=1),)).panel

    assert (panel.asked, panel.answered, len(panel.lost)) == (1, 1, 1)


def test_a_slot_with_a_stand_in_is_not_asked_for_by_the_word_of_the_flow() -> None:
    panel = run_of(record(1, Failure(Reason.TIMEOUT)), record(2, Draft("a")), record(3, Draft("b")), lost=()).panel

    assert (panel.asked, panel.answered, panel.lost, panel.skewed) == (2, 2, (), False)


def test_calls_that_ended_with_their_run_are_not_lost() -> None:
    run = run_of(record(1, Draft("a")), record(2, Failure(Reason.CANCELLED)))

    assert (run.partial, run.panel.asked, run.panel.answered) == (False, 1, 1)


def test_the_samples_of_a_route_are_the_panel_where_no_other_was_asked() -> None:
    samples = (record(1, Draft("a"), role="sampler"), record(2, Draft("a"), role="sampler"))

    assert run_of(*samples).panel.asked == 2
    assert run_of(*samples, record(1, Draft("b"))).panel.asked == 1


def test_a_lost_model_of_a_slot_counts_once() -> None:
    assert merge_lost([lost("lab/a")], [lost("lab/a", Reason.TIMEOUT), lost("lab/b", slot=1)]) == (
        lost("lab/b", slot=1),
        lost("lab/a"),
    )
