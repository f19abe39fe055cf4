"""Drafts are compared in pairs, each pair in both orders, so that a love of the first place cancels out.

After LLM-Blender (Jiang et al. 2023, arXiv 2306.02561): all pairs rank the drafts and the best are merged.
With `bubble` only neighbours meet, in one pass, and the last one standing is the answer word for word.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any, TypeAlias

from moa_mcp.domain.model import Batch, Call, Likely, Outcome, Task
from moa_mcp.domain.preset import Preset
from moa_mcp.domain.stages import Pairs
from moa_mcp.flows.calls import JUDGES_SHARE, PROPOSERS_SHARE
from moa_mcp.flows.candidates import Ballot, shuffled
from moa_mcp.flows.conclude.synthesize import fused
from moa_mcp.flows.conclude.verbatim import first_whole, verbatim
from moa_mcp.flows.state import Conclusion, Reference, State
from moa_mcp.flows.structured_reply import ask_each, json_object, judge_call
from moa_mcp.prompts.judge import compare

_LIKELY = Likely('{"better": "A"}', '{"better": "A"}')
_TIE = re.compile(r"\b(?:tie|tied|draw|none|neither|equal|equally|both)\b", re.IGNORECASE)
_TWO = Ballot((0, 1), ("", ""), "")
"""For reading verdicts: A is the draft shown first, B the other."""


@dataclass(frozen=True, slots=True)
class Met:
    """Two drafts that were compared in both orders. `points` go to the first: 1, or 0, or 0.5 for a tie.

    `read` is how many of the two verdicts could be read; one that could not counts as a tie.
    """

    first: Reference
    second: Reference
    points: float
    read: int

    def __str__(self) -> str:
        sign = {1.0: ">", 0.0: "<"}.get(self.points, "=")
        return f"{self.first.seat.number}{sign}{self.second.seat.number}"


Meeting: TypeAlias = Generator[Batch, Sequence[Outcome], list[Met]]


def pairs(task: Task, preset: Preset, state: State, spec: Pairs) -> Conclusion:
    """Rank the drafts and let the aggregator merge the best; with `bubble`, answer with the best one."""
    return (yield from (_bubble if spec.bubble else _merge)(task, preset, state, spec))


def _merge(task: Task, preset: Preset, state: State, spec: Pairs) -> Conclusion:
    met = yield from _meet(task, preset, spec, list(combinations(state.references, 2)), JUDGES_SHARE)
    points = dict.fromkeys(state.numbers, 0.0)
    for one in met:
        points[one.first.seat.number] += one.points
        points[one.second.seat.number] += 1 - one.points
    ranking = sorted(points, key=lambda number: -points[number])
    lost = "no comparison could be read, so all drafts were merged" if _unread(met) else None
    kept = ranking if lost else ranking[: spec.top]
    # In an order that tells nothing of the rank.
    order = [state.references[index] for index in shuffled(task.seed, "pairs", len(points))]
    merged = tuple(reference for reference in order if reference.seat.number in kept)
    facts = {
        "points": {str(number): points[number] for number in ranking},
        "kept": kept,
        "dropped": [number for number in ranking if number not in kept],
        "order": [reference.seat.number for reference in merged],
        **_facts(met),
    }
    answer = yield from fused(task, preset, replace(state, references=merged), JUDGES_SHARE)
    notes = (*_notes(met), *((lost,) if lost else ()), *answer.notes)
    return replace(answer, degraded=answer.degraded or bool(lost), notes=notes, method={"pairs": facts})


def _bubble(task: Task, preset: Preset, state: State, spec: Pairs) -> Conclusion:
    order = [state.references[index] for index in shuffled(task.seed, "pairs", len(state.references))]
    best, *others = order
    met: list[Met] = []
    for step, other in enumerate(others, start=1):
        until = PROPOSERS_SHARE + (1 - PROPOSERS_SHARE) * step / len(others)
        met += yield from _meet(task, preset, spec, [(best, other)], until)
        best = other if met[-1].points == 0 else best
    lost = "no comparison could be read; the first whole draft is the answer" if _unread(met) else None
    best = first_whole(state.references) if lost else best
    facts = {"order": [one.seat.number for one in order], "chosen": best.seat.number, **_facts(met)}
    answer = verbatim(best, {"pairs": facts}, lost)
    return replace(answer, notes=(*_notes(met), *answer.notes))


def _meet(
    task: Task, preset: Preset, spec: Pairs, drawn: Sequence[tuple[Reference, Reference]], until: float
) -> Meeting:
    """Compare each of the pairs in both orders, all side by side."""
    if not drawn:
        return []
    calls = tuple(
        _call(task, preset, spec, *order) for first, second in drawn for order in ((first, second), (second, first))
    )
    asked = yield from ask_each(Batch(preset.layers, calls, until=until), _read, _read_loosely)
    verdicts = [one.value for one in asked]
    return [_met(*met) for met in zip(drawn, verdicts[::2], verdicts[1::2], strict=True)]


def _met(pair: tuple[Reference, Reference], forth: float | None, back: float | None) -> Met:
    """`forth` and `back` are the points of the draft that was shown first, in the one order and the other."""
    known = [verdict for verdict in (forth, back) if verdict is not None]
    agreed = len(known) == 2 and sum(known) == 1
    return Met(*pair, known[0] if agreed else 0.5, len(known))


def _call(task: Task, preset: Preset, spec: Pairs, first: Reference, second: Reference) -> Call:
    """The call that shows `first` as candidate A and `second` as B; its id has both numbers so."""
    messages = compare(task, Ballot((0, 1), (first.text, second.text), task.nonce).shown())
    return judge_call(
        preset,
        spec.model,
        messages,
        "judge",
        layer=preset.layers,
        slot=first.seat.number,
        place=f"{first.seat.number}-{second.seat.number}",
        likely=_LIKELY,
    )


def _read(text: str) -> float | None:
    reply = json_object(text, "better")
    if reply is None:
        return None
    said = str(reply["better"])
    return _points(_TWO.index(said), said)


def _read_loosely(text: str) -> float | None:
    return _points(_TWO.meant(text), text)


def _points(better: int | None, said: str) -> float | None:
    """The points of candidate A where a verdict finds `better` the better one; `said` may call it a tie."""
    if better is not None:
        return 1.0 - better
    return 0.5 if _TIE.search(said) else None


def _unread(met: Sequence[Met]) -> bool:
    return bool(met) and not any(one.read for one in met)


def _facts(met: Sequence[Met]) -> dict[str, Any]:
    return {
        "results": [str(one) for one in met],
        "ties": sum(one.points == 0.5 for one in met),
        "unread": sum(2 - one.read for one in met),
    }


def _notes(met: Sequence[Met]) -> tuple[str, ...]:
    unread = sum(2 - one.read for one in met)
    total = 2 * len(met)
    return (f"{unread} of {total} comparisons could not be read and count as ties",) if unread else ()
