"""Stages from outside of this package can do what the built-in ones do.

They are registered in a process of their own, because a registered stage stays.
"""

from __future__ import annotations

import subprocess
import sys

STAGES = """
from dataclasses import replace
from typing import ClassVar, Literal

from moa_mcp.domain.model import Answer, Batch, Task
from moa_mcp.domain.preset import Preset
from moa_mcp.domain.stages import ROUTES, SCREENS, RouteSpec, ScreenSpec
from moa_mcp.flows import schedule
from moa_mcp.flows.calls import make_call
from moa_mcp.flows.panel import ask_panel
from moa_mcp.flows.state import no_calls
from moa_mcp.testing.playing import drive

SAME = "The sky is blue because air scatters short waves more than long ones. " * 9


class FirstTwo(RouteSpec):
    by: Literal["first-two"]
    chooses_slots: ClassVar[bool] = True
    copy_similarity: ClassVar[float] = 0.9
    share_of_time: ClassVar[float | None] = 0.01


@ROUTES.register(FirstTwo)
def first_two(task, preset, state, spec):
    yield from no_calls()
    weighted = tuple(replace(one, weight=1.0) for one in state.participants)
    return replace(state, participants=weighted[:2], reserve=weighted[2:]).with_facts(route={})


class Noted(ScreenSpec):
    by: Literal["noted"]


def note_layer(task, preset, state, spec):
    call = make_call(preset.aggregator, (), f"{state.layer}.noter", "noter", layer=state.layer)
    yield Batch(state.layer, (call,), until=schedule.after_layer(state.layer, preset).merger)
    return state


@SCREENS.register(Noted, end_of_layer=note_layer)
def noted(task, preset, state, spec):
    yield from no_calls()
    return state


def played(**keys):
    preset = Preset(proposers=["lab/a", "lab/b", "lab/c"], aggregator="lab/agg", **keys)
    return preset, drive(ask_panel(Task("Why?"), preset), lambda call: SAME if call.slot < 3 else "Quite another text.")
"""


def run_outside(script: str) -> str:
    return subprocess.check_output([sys.executable, "-c", STAGES + script], text=True)


def test_copies_are_replaced_from_the_reserve_of_any_route_that_wants_it_and_in_its_own_time() -> None:
    printed = run_outside(
        """
preset, run = played(route={"by": "first-two"})
print([call.slot for call in run.calls if call.role == "proposer"], run.answer.method["route"]["woken"])
plain = Preset(proposers=["lab/a"], aggregator="lab/agg", layers=3, route={"by": "gate"})
early = Preset(proposers=["lab/a"], aggregator="lab/agg", layers=3, route={"by": "first-two"})
print(schedule.roles_end(early) <= schedule.roles_end(plain), schedule.after_layer(1, early).duplicates > 0.5)
"""
    )

    assert printed == "[1, 2, 3] [3]\nTrue True\n"


def test_any_stage_may_work_at_the_end_of_each_layer_after_all_other_stages() -> None:
    printed = run_outside(
        """
preset, run = played(layers=3, screen={"by": "noted"}, stop={"by": "agreement"})
ends = [batch.until for batch in run.batches]
print([call.id for call in run.calls if call.role == "noter"], ends == sorted(set(ends)))
"""
    )

    assert printed == "['1.noter', '2.noter'] True\n"
