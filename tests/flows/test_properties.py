"""Whatever stages a preset mixes and whatever its models do: a run ends, within its bounds, and always the same."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from moa_mcp.errors import Reason, RunFailed
from moa_mcp.flows.mixture import mixture
from moa_mcp.flows.rehearsal import MOST_CALLS, bounds
from moa_mcp.model import Answer, Call, Draft, Failure, Flow, Outcome, Task
from moa_mcp.preset import Preset

TASK = Task("Which of the two is right, and why?", seed=7)
FAILURES = (Reason.OVERLOADED, Reason.AUTH, Reason.TIMEOUT, Reason.DEADLINE, Reason.REFUSED)
ODD_TEXTS = ("", "A", "fine", "{}", "[1, 2]", "{'score': ten}", '{"keep": ["Z"]}', "```\nanswer = 1\n```", "answer: 42")

Reply = Callable[[Call], Outcome]

plain_slots = st.lists(st.sampled_from(["lab/a", "lab/b", "lab/c", "lab/d"]), min_size=1, max_size=4)
method_slots = st.sampled_from(
    [
        {"method": "tree-search", "model": "lab/t", "simulations": 3},
        {"method": "tree-search", "model": "lab/t", "simulations": 4, "width": 1, "depth": 2},
        {"method": "chain-of-code", "model": "lab/p", "emulations": 4},
        {"method": "chain-of-code", "model": "lab/p", "mode": "whole"},
    ]
)
SCREENS: list[dict[str, Any] | None] = [
    None,
    {"by": "judge", "keep": 1},
    {"by": "judge", "keep": 2, "may_stop": False},
    {"by": "diversity", "keep": 2},
    {"by": "cluster"},
]
ends = st.sampled_from(
    [
        {"by": "synthesize"},
        {"by": "select"},
        {"by": "select", "for": "consistent"},
        {"by": "rate"},
        {"by": "vote"},
        {"by": "pairs", "top": 2},
        {"by": "pairs", "bubble": True},
        {"by": "critique"},
        {"by": "council"},
        {"by": "analysis"},
        {"by": "advise"},
        {"by": "advise", "unavailable": "silent"},
    ]
)


@st.composite
def presets(draw: st.DrawFn) -> Preset:
    slots: list[Any] = [*draw(plain_slots), *draw(st.lists(method_slots, max_size=2))]
    screen = draw(st.sampled_from(SCREENS))
    stages: dict[str, Any] = {"conclude": draw(ends)}
    if screen is not None and screen.get("keep", 1) <= len(slots):
        stages["screen"] = screen
    if draw(st.booleans()):
        stages["roles"] = {"task": "hard questions"}
    fallbacks = ["lab/f"] if draw(st.booleans()) else []
    aggregator = {"model": "lab/agg", "fallbacks": fallbacks}
    layers = draw(st.integers(1, 3))
    return Preset.model_validate({"proposers": slots, "layers": layers, "aggregator": aggregator, **stages})


@st.composite
def models(draw: st.DrawFn) -> Reply:
    """Models that answer well, oddly or not at all: by the id of the call, so always the same to the same."""
    seed = draw(st.integers(0, 10_000))
    failing = draw(st.sampled_from([0, 0, 20, 60, 100]))
    odd = draw(st.sampled_from([0, 30, 100]))

    def reply(call: Call) -> Outcome:
        draws = hashlib.sha256(f"{seed}/{call.id}".encode()).digest()
        if draws[0] % 100 < failing:
            return Failure(FAILURES[draws[1] % len(FAILURES)])
        if call.kind == "embedding":
            return Draft(json.dumps([[1.0, draws[2] / 255, float(place)] for place in range(len(call.messages))]))
        if call.likely is not None and (draws[0] // 2) % 100 >= odd:
            return Draft(call.likely.least if draws[3] % 2 else call.likely.most, finish_reason="stop")
        return Draft(ODD_TEXTS[draws[4] % len(ODD_TEXTS)] or "some words", finish_reason="stop")

    return reply


def played(flow: Flow, reply: Reply, asked: list[Call]) -> Answer | str:
    """The flow's answer, or the words of its error; its branches are played in their places."""
    try:
        batch = next(flow)
        while True:
            asked.extend(batch.calls)
            assert len(asked) <= MOST_CALLS
            inner = [_as_outcome(played(branch.flow(), reply, asked)) for branch in batch.branches]
            batch = flow.send([*map(reply, batch.calls), *inner])
    except StopIteration as stop:
        answer: Answer = stop.value
        return answer
    except RunFailed as error:
        return str(error)


def _as_outcome(found: Answer | str) -> Outcome:
    if isinstance(found, str):
        return Failure(Reason.PANEL, found)
    return Draft(found.text, finish_reason="stop", notes=found.notes, method=found.method)


@settings(max_examples=150, deadline=None)
@given(presets(), models())
def test_any_mixture_ends_with_an_answer_or_an_error_that_names_causes(preset: Preset, reply: Reply) -> None:
    found = played(mixture(TASK, preset), reply, [])

    assert isinstance(found, Answer) or "\n- " in found


@settings(max_examples=150, deadline=None)
@given(presets(), models())
def test_no_run_makes_more_calls_than_its_bound(preset: Preset, reply: Reply) -> None:
    asked: list[Call] = []
    played(mixture(TASK, preset), reply, asked)

    assert sum(call.kind != "code" for call in asked) <= bounds(lambda: mixture(TASK, preset)).most_calls


@settings(max_examples=60, deadline=None)
@given(presets())
def test_a_run_in_which_nothing_fails_makes_no_fewer_calls_than_its_bound(preset: Preset) -> None:
    asked: list[Call] = []

    def reply(call: Call) -> Outcome:
        return Draft(call.likely.most if call.likely else f"words of {call.id}", finish_reason="stop")

    played(mixture(TASK, preset), reply, asked)
    assert sum(call.kind != "code" for call in asked) >= bounds(lambda: mixture(TASK, preset)).least_calls


@settings(max_examples=80, deadline=None)
@given(presets(), models())
def test_the_same_seed_and_replies_make_the_same_run(preset: Preset, reply: Reply) -> None:
    runs: list[tuple[Answer | str, list[Call]]] = []
    for _ in range(2):
        asked: list[Call] = []
        runs.append((played(mixture(TASK, preset), reply, asked), asked))

    assert runs[0] == runs[1]


@settings(max_examples=80, deadline=None)
@given(presets(), models())
def test_every_call_of_a_run_has_an_id_of_its_own(preset: Preset, reply: Reply) -> None:
    asked: list[Call] = []
    played(mixture(TASK, preset), reply, asked)

    assert len({call.id for call in asked}) == len(asked)


@settings(max_examples=60, deadline=None)
@given(presets(), models())
def test_facts_and_notes_can_be_kept_as_json(preset: Preset, reply: Reply) -> None:
    found = played(mixture(TASK, preset), reply, [])

    if isinstance(found, Answer):
        assert json.loads(json.dumps(found.method)) == found.method
        assert all(isinstance(note, str) for note in found.notes)


@settings(max_examples=40, deadline=None)
@given(presets(), models())
def test_guidance_needs_no_answer_of_the_aggregator_where_there_are_drafts(preset: Preset, reply: Reply) -> None:
    asked: list[Call] = []
    found = played(mixture(replace(TASK, output="guidance"), preset), reply, asked)

    assert isinstance(found, Answer) or "\n- " in found
