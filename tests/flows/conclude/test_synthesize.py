"""An aggregator that repeats its instructions is asked once more, in the words of the paper."""

from __future__ import annotations

from moa_mcp.domain.model import Call
from moa_mcp.domain.preset import Preset
from moa_mcp.flows.panel import ask_panel
from moa_mcp.prompts.panel import AGGREGATE_AND_SYNTHESIZE
from moa_mcp.testing.playing import Played, drive
from tests.flows.panel import MERGED, TASK, a_panel, draft_of, prompt_of, with_role

PANEL = a_panel(slots=2)
WITH_FALLBACK = a_panel(slots=2, aggregator={"model": "lab/agg", "fallbacks": ["lab/next"]})


def echoing(times: int, preset: Preset = PANEL) -> Played:
    """The panel with an aggregator whose first replies are its instructions."""
    left = [times]

    def reply(call: Call) -> str:
        if call.role == "proposer":
            return draft_of(call.slot)
        left[0] -= 1
        return prompt_of(call) if left[0] >= 0 else MERGED

    return drive(ask_panel(TASK, preset), reply)


def test_it_is_asked_once_more_in_the_plainest_form_and_that_is_noted() -> None:
    played = echoing(1)

    first, second = with_role(played.calls, "aggregator")
    assert (second.id, second.repeat_of) == (f"{first.id}.again", first.id)
    assert second.messages[0].text == f"{AGGREGATE_AND_SYNTHESIZE}\n1. {draft_of(1)}\n2. {draft_of(2)}"
    assert played.answer.text == MERGED
    assert any("lab/agg repeated its instructions" in note for note in played.answer.notes)


def test_one_that_repeats_them_again_has_failed() -> None:
    played = echoing(2)

    assert played.answer.degraded
    assert played.answer.text in {draft_of(1), draft_of(2)}


def test_then_the_fallback_is_asked() -> None:
    played = echoing(2, WITH_FALLBACK)

    assert [call.model for call in with_role(played.calls, "aggregator")] == ["lab/agg", "lab/agg", "lab/next"]
    assert (played.answer.text, played.answer.degraded) == (MERGED, False)


def test_a_prompt_that_is_the_plainest_already_is_not_sent_again() -> None:
    played = echoing(1, a_panel(slots=2, prompt_style="paper"))

    assert len(with_role(played.calls, "aggregator")) == 1
    assert played.answer.degraded
    assert any("lab/agg repeated its instructions" in note for note in played.answer.notes)


def test_a_plain_call_may_answer_with_any_words() -> None:
    played = drive(ask_panel(TASK, a_panel(layers=1)), lambda call: AGGREGATE_AND_SYNTHESIZE)

    assert (played.answer.text, played.answer.degraded) == (AGGREGATE_AND_SYNTHESIZE, False)
    assert len(played.calls) == 1
