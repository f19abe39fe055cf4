"""Whatever stages a preset mixes and whatever its models do: a run ends, within its bounds, and always the same."""

from __future__ import annotations

import json

from hypothesis import given

from moa_mcp.domain.model import Answer, Batch, Call, CodeCall, Task
from moa_mcp.domain.preset import Preset
from moa_mcp.flows.panel import ask_panel
from moa_mcp.flows.planning.call_bounds import call_bounds
from moa_mcp.flows.planning.dry_run import dry_run
from tests.flows.fake_drafts import Reply, models, played, sound_models
from tests.flows.mixtures import presets, tasks, undrawn


def asked_in(batches: list[Batch]) -> list[Call]:
    return [call for batch in batches for call in batch.calls]


def paid_for(batches: list[Batch]) -> int:
    return sum(not isinstance(call, CodeCall) for call in asked_in(batches))


def test_every_stage_and_each_of_its_keys_is_drawn() -> None:
    assert list(undrawn()) == []


@given(tasks, presets(), models())
def test_any_mixture_ends_with_an_answer_or_an_error_that_names_causes(
    task: Task, preset: Preset, reply: Reply
) -> None:
    batches: list[Batch] = []
    found = played(ask_panel(task, preset), reply, batches)

    assert isinstance(found, Answer) or "\n- " in found
    assert all(batch.all_calls and 0 < batch.until <= 1 for batch in batches)


@given(tasks, presets(), models())
def test_no_run_makes_more_calls_than_its_bound(task: Task, preset: Preset, reply: Reply) -> None:
    batches: list[Batch] = []
    played(ask_panel(task, preset), reply, batches)

    assert paid_for(batches) <= call_bounds(preset, task).most_calls


@given(tasks, presets(), sound_models())
def test_a_run_in_which_nothing_fails_makes_no_fewer_calls_than_its_bound(
    task: Task, preset: Preset, reply: Reply
) -> None:
    batches: list[Batch] = []
    played(ask_panel(task, preset), reply, batches)

    assert paid_for(batches) >= call_bounds(preset, task).least_calls


@given(tasks, presets())
def test_what_is_planned_lies_within_the_bounds(task: Task, preset: Preset) -> None:
    planned = dry_run(ask_panel(task, preset))
    found = call_bounds(preset, task)

    assert found.least_calls <= planned.calls <= found.most_calls
    assert found.least_rounds <= planned.rounds <= found.most_rounds


@given(tasks, presets(), models())
def test_the_same_seed_and_replies_make_the_same_run(task: Task, preset: Preset, reply: Reply) -> None:
    runs: list[tuple[Answer | str, list[Call]]] = []
    for _ in range(2):
        batches: list[Batch] = []
        runs.append((played(ask_panel(task, preset), reply, batches), asked_in(batches)))

    assert runs[0] == runs[1]


@given(tasks, presets(), models())
def test_every_call_of_a_run_has_an_id_of_its_own(task: Task, preset: Preset, reply: Reply) -> None:
    batches: list[Batch] = []
    played(ask_panel(task, preset), reply, batches)

    asked = asked_in(batches)
    assert len({call.id for call in asked}) == len(asked)


@given(tasks, presets(), models())
def test_facts_and_notes_can_be_kept_as_json(task: Task, preset: Preset, reply: Reply) -> None:
    found = played(ask_panel(task, preset), reply, [])

    if isinstance(found, Answer):
        assert json.loads(json.dumps(found.method)) == found.method
        assert all(isinstance(note, str) for note in found.notes)
