"""Between what and what the calls of a preset lie, whatever it is asked."""

from dataclasses import replace

from moa_mcp.domain.preset import Preset
from moa_mcp.flows.planning.call_bounds import call_bounds, early_end_note
from tests.flows.panel import TASK, a_panel, packaged


def calls(preset: Preset) -> tuple[int, int]:
    found = call_bounds(preset)
    return found.least_calls, found.most_calls


ECHO = 1
"""An aggregator that repeats its instructions is asked once more."""


def test_a_plain_panel_makes_the_same_calls_for_every_question() -> None:
    assert calls(a_panel(slots=3)) == (4, 4 + ECHO)


def test_where_the_form_of_a_question_routes_it_an_easy_and_a_hard_one_are_tried() -> None:
    preset = a_panel(slots=3, route={"by": "difficulty", "easy": "lab/small"})

    # An easy question may be one call; one that only looked easy is the small model's, then the panel's.
    assert calls(preset) == (1, 1 + 3 + 1 + ECHO)


def test_where_the_words_of_a_question_choose_the_slots_each_slot_s_own_are_tried() -> None:
    skilled = [{"model": f"lab/{skill}", "skills": [skill]} for skill in ("code", "law", "music")]
    preset = Preset.model_validate({"proposers": skilled, "aggregator": "lab/agg", "route": {"by": "gate"}})

    # A question of one skill is one draft, which is the answer; one of none asks all slots.
    assert calls(preset) == (1, 3 + 1 + ECHO)


def test_samples_that_may_all_fail_leave_the_question_to_the_panel() -> None:
    preset = a_panel(slots=3, layers=1, route={"by": "agreement", "easy": "lab/small", "samples": 3})

    # Samples that differ are compared by a judge, at most twice.
    assert calls(preset) == (3, 3 + 2 + 1 + ECHO)


def test_a_minority_that_is_set_aside_makes_fewer_calls() -> None:
    assert calls(packaged("robust"))[0] == 4 + 3 + 1


def test_drafts_too_short_to_be_copies_are_not_replaced() -> None:
    proposers = [{"model": f"lab/{number}", "skills": ["code"][: number - 1]} for number in (1, 2, 3)]
    route = {"by": "gate"}
    stop = {"by": "agreement"}
    preset = Preset.model_validate(
        {"proposers": proposers, "aggregator": "lab/agg", "layers": 3, "route": route, "stop": stop}
    )

    assert calls(preset)[0] == 2 + 1


def test_a_gate_that_chooses_among_unlike_slots_may_choose_the_cheapest() -> None:
    search = {"method": "tree-search", "model": "lab/t"}
    route = {"by": "gate", "model": "lab/gate", "share": 0.1}
    preset = Preset.model_validate({"proposers": [search, "lab/a"], "aggregator": "lab/agg", "route": route})

    assert calls(preset)[0] == 1 + 1


def test_a_panel_in_a_slot_that_routes_by_the_words_of_the_question_is_seen_too() -> None:
    inner = a_panel(slots=2, route={"by": "difficulty", "easy": "lab/small"})
    outer = Preset.model_validate({"proposers": ["lab/a", {"preset": "inner", "plan": inner}], "aggregator": "lab/agg"})

    assert calls(outer) == (1 + 1 + 1, 1 + (1 + 2 + 1 + ECHO) + 1 + ECHO)


def test_calls_for_embeddings_count_where_texts_are_compared_by_them() -> None:
    preset = a_panel(slots=3, screen={"by": "diversity", "keep": 2})

    assert calls(preset) == (4, 4 + ECHO)
    assert call_bounds(preset, replace(TASK, embeddings="lab/embedder")).most_calls == 5 + ECHO


def test_a_preset_that_may_exceed_the_limit_of_calls_gets_a_note_before_the_run() -> None:
    found = call_bounds(packaged("forge"))

    assert early_end_note(found, None) == early_end_note(found, found.most_calls) == ()
    (note,) = early_end_note(found, found.most_calls - 1)
    assert f"{found.most_calls} calls, and the limit is {found.most_calls - 1}" in note


def test_guidance_needs_no_aggregator() -> None:
    guided = replace(TASK, output="guidance")
    routed = a_panel(slots=3, route={"by": "difficulty", "easy": "lab/small"})

    assert call_bounds(a_panel(slots=3), guided).most_calls == 3
    assert call_bounds(routed, guided).most_calls == 1 + 3  # the small model's may fail
    assert call_bounds(a_panel(slots=3, conclude={"by": "advise"}), guided).most_calls == 3
