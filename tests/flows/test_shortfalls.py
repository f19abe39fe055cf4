"""What makes an answer partial or degraded: each row of the table in ARCHITECTURE.md, alone and in a slot."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import pytest

from moa_mcp.domain.errors import Reason
from moa_mcp.domain.execution import Execution
from moa_mcp.domain.model import Answer, Call, CodeResult, Draft, DryRunReplies, Failure, Outcome
from moa_mcp.domain.preset import NestedPreset, Preset
from moa_mcp.domain.shortfalls import NONE, LostDraft, Shortfall
from moa_mcp.flows.panel import ask_panel
from tests.flows.fake_drafts import played
from tests.flows.panel import TASK, a_panel, draft_of, packaged

Said: TypeAlias = str | Outcome
Wrap: TypeAlias = Callable[[Preset], Preset]


@dataclass(frozen=True)
class Row:
    """A preset, what its models say that others would not, and what its answer then lacks."""

    preset: Preset
    says: Callable[[Call], Said | None]
    shortfalls: frozenset[Shortfall] = NONE
    lost: tuple[LostDraft, ...] = ()


def by_role(**said: Said) -> Callable[[Call], Said | None]:
    return lambda call: said.get(call.role)


def drafting(*said: Said) -> Callable[[Call], Said | None]:
    """Each proposer says the text of its slot."""
    return lambda call: said[int(call.id.split("/")[-1].split(".")[1]) - 1] if call.role == "proposer" else None


def second_is_lost(call: Call) -> Said | None:
    return Failure(Reason.RATE_LIMITED) if call.model == "lab/p2" else None


def flips(call: Call) -> Said | None:
    """Without the first draft, the aggregator would say something else."""
    if call.role == "proposer":
        return "Final answer: 42"
    if call.role == "variant":
        return "Final answer: 41" if call.id.endswith("variant.1") else "Final answer: 42"
    return "Final answer: 42"


def a_method(**keys: Any) -> Preset:
    return Preset.model_validate(
        {"proposers": [{"model": "lab/m", **keys}], "aggregator": "lab/m", "conclude": {"by": "take"}}
    )


DOWN = Failure(Reason.OVERLOADED)
LATE = Failure(Reason.DEADLINE)
CUT = Draft("The sky is", finish_reason="length")
STOPPED = Draft("The sky is", finish_reason="content_filter")
VOTE: dict[str, Any] = {"conclude": {"by": "vote"}}
LOST = LostDraft(2, "lab/p2", Reason.RATE_LIMITED)
PROGRAM = "```python\nanswer = think()\n```"
GATE: dict[str, Any] = {"route": {"by": "gate", "model": "lab/judge", "share": 0.6}, "min_drafts": 2}
SCORES = json.dumps({"slots": {"A": {"score": 5}, "B": {"score": 5}, "C": {"score": 5}, "D": {"score": 5}}})

ROWS = {
    "nothing": Row(a_panel(3), by_role()),
    "a lost draft": Row(a_panel(3), second_is_lost, lost=(LOST,)),
    "a draft lost in both layers": Row(a_panel(3, layers=3), second_is_lost, lost=(LOST,)),
    "one draft of three": Row(
        a_panel(3, min_drafts=2),
        lambda call: DOWN if call.model in ("lab/p2", "lab/p3") else None,
        frozenset({Shortfall.TOO_FEW_DRAFTS}),
        (LostDraft(2, "lab/p2", Reason.OVERLOADED), LostDraft(3, "lab/p3", Reason.OVERLOADED)),
    ),
    "a later layer without drafts": Row(
        a_panel(1, layers=3),
        lambda call: LATE if call.id.endswith("2.1") and call.role == "proposer" else None,
        frozenset({Shortfall.TOO_FEW_DRAFTS}),
        (LostDraft(1, "lab/p1", Reason.DEADLINE),),
    ),
    "a screen that drops drafts": Row(a_panel(4, screen={"by": "diversity", "keep": 2}), by_role()),
    "a slot with a stand-in": Row(
        a_panel(4, **{**GATE, "min_drafts": 3}),
        lambda call: SCORES if call.role == "router" else DOWN if call.id.endswith("1.1") else None,
    ),
    "no aggregator": Row(a_panel(3), by_role(aggregator=DOWN), frozenset({Shortfall.FALLBACK})),
    "a deputy of the aggregator": Row(
        a_panel(3, aggregator={"model": "lab/agg", "fallbacks": ["lab/deputy"]}),
        lambda call: DOWN if call.model == "lab/agg" else None,
    ),
    "no roles": Row(a_panel(3, roles={"task": "questions"}), by_role(roles="no idea"), frozenset({Shortfall.FALLBACK})),
    "a reply without a program": Row(
        a_method(method="chain-of-code"), by_role(programmer="It is blue."), frozenset({Shortfall.FALLBACK})
    ),
    "an answer out of tokens": Row(a_panel(3), by_role(aggregator=CUT), frozenset({Shortfall.CUT})),
    "a broken stream": Row(a_panel(3), by_role(aggregator=Draft("The", cut=True)), frozenset({Shortfall.CUT})),
    "a chosen draft that is cut": Row(a_panel(1, conclude={"by": "take"}), drafting(CUT), frozenset({Shortfall.CUT})),
    "a filtered answer": Row(a_panel(3), by_role(aggregator=STOPPED), frozenset({Shortfall.FILTERED})),
    "a tied vote": Row(
        a_panel(2, **VOTE), drafting("Final answer: 41", "Final answer: 42"), frozenset({Shortfall.TIE})
    ),
    "two groups of one size": Row(
        a_panel(4, screen={"by": "cluster"}),
        drafting(*("Final answer: 41", "Final answer: 42") * 2),
        frozenset({Shortfall.TIE}),
    ),
    "a vote without a majority": Row(
        a_panel(5, **VOTE),
        drafting(*(f"Final answer: {number}" for number in (41, 41, 42, 43, 44))),
        frozenset({Shortfall.MINORITY}),
    ),
    "a flip": Row(a_panel(3, conclude={"by": "subsets", "mode": "leave-one-out"}), flips, frozenset({Shortfall.FLIP})),
    "a judge out of form": Row(
        a_panel(3, conclude={"by": "select"}), by_role(judge="no idea"), frozenset({Shortfall.UNREAD_JUDGE})
    ),
    "a gate out of form": Row(a_panel(4, **GATE), by_role(router="no idea"), frozenset({Shortfall.UNREAD_JUDGE})),
    "a council without ranks": Row(
        a_panel(3, conclude={"by": "council"}), by_role(ranker="no idea"), frozenset({Shortfall.UNREAD_JUDGE})
    ),
    "a search without time": Row(
        a_method(method="tree-search"), by_role(refiner=LATE), frozenset({Shortfall.UNFINISHED})
    ),
    "a search without values": Row(
        a_method(method="tree-search"), by_role(judge="no idea"), frozenset({Shortfall.UNREAD_JUDGE})
    ),
    "a program that cannot be run": Row(
        a_method(method="chain-of-code"),
        by_role(programmer=PROGRAM, sandbox=CodeResult(Execution("lost", error="there is no sandbox"))),
        frozenset({Shortfall.UNFINISHED}),
    ),
}

WRAPS: dict[str, Wrap] = {
    "alone": lambda preset: preset,
    "behind take": lambda preset: a_panel(1, conclude={"by": "take"}).model_copy(
        update={"proposers": (NestedPreset(preset="inner", plan=preset),)}
    ),
    "in a slot of a panel": lambda preset: a_panel(2).model_copy(
        update={"proposers": (*a_panel(2).proposers, NestedPreset(preset="inner", plan=preset))}
    ),
    "two panels deep": lambda preset: WRAPS["behind take"](WRAPS["in a slot of a panel"](preset)),
}
DEPTHS = {"alone": 0, "behind take": 1, "in a slot of a panel": 1, "two panels deep": 2}
SLOTS = {"behind take": 1, "in a slot of a panel": 3, "two panels deep": 1}


def answer_of(preset: Preset, says: Callable[[Call], Said | None], depth: int) -> Answer:
    """The answer of a panel whose calls at `depth` branches or more say what `says` says, if anything."""

    def reply(call: Call, form: DryRunReplies | None) -> Outcome:
        usual = draft_of(call.slot) if form is None else form.most
        said = (says(call) if len(call.branches) >= depth else None) or usual
        if isinstance(said, Execution):
            return CodeResult(said)
        return Draft(said, finish_reason="stop") if isinstance(said, str) else said

    found = played(ask_panel(TASK, preset), reply, [])
    assert isinstance(found, Answer), found
    return found


@pytest.mark.parametrize("place", WRAPS)
@pytest.mark.parametrize("name", ROWS)
def test_an_answer_says_what_it_lacks_wherever_its_panel_is(name: str, place: str) -> None:
    row = ROWS[name]
    answer = answer_of(WRAPS[place](row.preset), row.says, DEPTHS[place])

    assert (answer.shortfalls, answer.degraded) == (row.shortfalls, bool(row.shortfalls))
    assert (answer.lost, answer.partial) == (
        tuple(replace(one, slot=SLOTS.get(place, one.slot)) for one in row.lost),
        bool(row.lost),
    )


def test_each_shortfall_has_a_row() -> None:
    assert {one for row in ROWS.values() for one in row.shortfalls} == set(Shortfall)


def test_a_stand_in_is_noted() -> None:
    row = ROWS["a slot with a stand-in"]

    assert any("stood in for slot 1 (lab/p1)" in note for note in answer_of(row.preset, row.says, 0).notes)


def test_a_lost_sample_of_a_cascade_is_missing_only_where_the_samples_are_the_answer() -> None:
    def samples(*texts: str) -> Callable[[Call], Said | None]:
        said: list[Said] = [*texts, DOWN]
        return lambda call: said[call.slot - 1] if call.role == "sampler" else None

    cascade = packaged("cascade")
    agreed = cascade.model_copy(update={"route": cascade.route.model_copy(update={"agree": 0.6})})  # type: ignore[union-attr]

    alone = answer_of(agreed, samples("Final answer: 42", "Final answer: 42"), 0)
    panel = answer_of(cascade, samples("Final answer: 41", "Final answer: 42"), 0)

    assert [one.slot for one in alone.lost] == [3]
    assert panel.lost == ()
