"""Whatever a preset mixes, each phase has time of its own and what must follow has some left."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moa_mcp.domain.errors import Reason
from moa_mcp.domain.model import AGGREGATOR, Batch, Failure, Task
from moa_mcp.domain.preset import Preset
from moa_mcp.domain.stages import CONCLUDES
from moa_mcp.flows import schedule
from moa_mcp.flows.conclude.subsets import Subsets
from moa_mcp.flows.panel import ask_panel
from tests.flows.fake_drafts import Reply, models, played, sound_models
from tests.flows.mixtures import presets, tasks

MANY_LAYERS = st.integers(1, 10)
NOBODY = Failure(Reason.OVERLOADED)


def a_preset(**keys: object) -> Preset:
    return Preset.model_validate({"proposers": ["lab/p", "lab/q"], "aggregator": "lab/agg", **keys})


def is_second_try(batch: Batch) -> bool:
    return all(call.is_repeat for call in batch.calls)


@st.composite
def flat_presets(draw: st.DrawFn) -> Preset:
    """A mixture of stages with any number of layers and no method or panel in a slot: these have times of their own."""
    preset = draw(presets(nesting=0))
    slots = [{"model": "lab/p", "samples": 1} for _ in preset.slots]
    # Gates, stops and most ends work on any number of layers above the one they need.
    layers = 2 if CONCLUDES.name(preset.conclude) == "windows" else max(preset.layers, draw(MANY_LAYERS))
    return Preset.model_validate({**preset.model_dump(), "proposers": slots, "layers": layers})


@settings(max_examples=100, deadline=None)
@given(tasks, flat_presets(), models())
def test_each_phase_of_any_mixture_ends_later_than_the_one_before(task: Task, preset: Preset, reply: Reply) -> None:
    batches: list[Batch] = []
    played(ask_panel(task, preset), reply, batches)

    assert 0 < batches[0].until <= schedule.RUN_END
    for earlier, later in pairwise(batches):
        # A reply that came out of form is asked for again in the time of its phase.
        assert earlier.until == later.until if is_second_try(later) else earlier.until < later.until


@settings(max_examples=40, deadline=None)
@given(tasks, flat_presets(), sound_models())
def test_the_last_model_that_may_write_has_all_the_time_that_is_left(task: Task, preset: Preset, reply: Reply) -> None:
    batches: list[Batch] = []
    played(
        ask_panel(task, preset), lambda call, form: NOBODY if call.role == AGGREGATOR else reply(call, form), batches
    )

    fallbacks = len(preset.aggregator.fallbacks)
    written = [batch.until for batch in batches if batch.calls[0].id == f"{preset.layers}.1.fallback{fallbacks}"]
    compared = isinstance(preset.conclude, Subsets) and preset.conclude.mode == "leave-one-out"
    assert set(written) <= ({schedule.COMPARED_ANSWER_END, schedule.RUN_END} if compared else {schedule.RUN_END})


@pytest.mark.parametrize(
    ("layers", "ends"),
    [
        (2, [0.6]),
        (3, [0.5, 0.6]),
        (4, [0.4, 0.5, 0.6]),
        (10, [round(0.6 * layer / 9, 9) for layer in range(1, 10)]),
    ],
)
def test_proposer_layers_share_the_first_three_fifths_of_a_run(layers: int, ends: list[float]) -> None:
    preset = a_preset(layers=layers)

    assert [round(schedule.proposer_layer_end(layer, preset), 9) for layer in range(1, layers)] == ends


def test_roles_are_written_after_the_longest_route_and_before_the_first_of_many_layers() -> None:
    preset = a_preset(layers=10, roles={"task": "hard questions"}, route={"by": "agreement", "easy": "lab/small"})

    assert schedule.SAMPLES_COMPARED_END < schedule.roles_end(preset) < schedule.proposer_layer_end(1, preset)


def test_the_aggregator_and_its_fallbacks_share_the_time_that_drafts_leave() -> None:
    assert schedule.conclusion(a_preset()) == schedule.Window(0.6)
    assert [round(schedule.Window(0.6).step_end(step, 4), 9) for step in (1, 2, 3, 4)] == [0.7, 0.8, 0.9, 1.0]
    assert schedule.conclusion(a_preset(layers=1)) == schedule.Window(0.0)


def test_a_screen_leaves_half_of_the_time_up_to_the_next_layer_s_end() -> None:
    preset = a_preset(layers=3, screen={"by": "diversity", "keep": 1})

    assert [round(schedule.after_layer(layer, preset).screen, 9) for layer in (1, 2)] == [0.55, 0.65]
