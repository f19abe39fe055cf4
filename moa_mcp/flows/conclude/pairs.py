"""Compare drafts in pairs, each pair in both orders, so that a bias for the first place cancels out.

After LLM-Blender (Jiang et al. 2023, arXiv 2306.02561): the drafts are ranked by all pairs, and the best are merged.
With `bubble`, only neighbours are compared, in one pass, and the last winner is the answer word for word.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any, Literal, TypeAlias

from pydantic import Field

from moa_mcp.domain.fields import Count, ModelSettingsOrId
from moa_mcp.domain.model import Batch, Call, DryRunReplies, Outcome, Task
from moa_mcp.domain.preset import Preset
from moa_mcp.domain.shortfalls import NONE, Shortfall
from moa_mcp.domain.stages import CONCLUDES, ConcludeSpec
from moa_mcp.flows import schedule
from moa_mcp.flows.candidates import LabelledCandidates, shuffled_order
from moa_mcp.flows.conclude.synthesize import synthesize_after
from moa_mcp.flows.conclude.take import draft_as_answer, first_complete
from moa_mcp.flows.state import Conclusion, Reference, State
from moa_mcp.flows.structured_reply import Form, ask_forms, json_object, judge_call
from moa_mcp.prompts.judge import compare

_TIE = re.compile(r"\b(?:tie|tied|draw|none|neither|equal|equally|both)\b", re.IGNORECASE)
_TWO = LabelledCandidates((0, 1), ("", ""), "")
"""For reading verdicts: A is the draft that is shown first, B is the other."""


class Pairs(ConcludeSpec):
    """A judge compares the drafts in pairs, each in both orders; the best are fused into the answer (LLM-Blender)."""

    by: Literal["pairs"]
    model: ModelSettingsOrId | None = Field(
        default=None, description="The model that compares. Unset: the aggregator's model."
    )
    top: Count = Field(default=3, description="How many of the best drafts are fused.")
    bubble: bool = Field(
        default=False,
        description="Compare neighbours only, in one pass, and answer with the winner word for word: fewer calls.",
    )


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two drafts, compared in both orders. `points` is what the first gets: 1, 0, or 0.5 for a tie.

    `read` is how many of the two verdicts could be read; if one could not, the pair is a tie.
    """

    first: Reference
    second: Reference
    points: float
    read: int

    def __str__(self) -> str:
        sign = {1.0: ">", 0.0: "<"}.get(self.points, "=")
        return f"{self.first.participant.number}{sign}{self.second.participant.number}"


Comparing: TypeAlias = Generator[Batch, Sequence[Outcome], list[Comparison]]


@CONCLUDES.register(Pairs)
def pairs(task: Task, preset: Preset, state: State, spec: Pairs) -> Conclusion:
    """Rank the drafts and let the aggregator merge the best; with `bubble`, answer with the best one."""
    return (yield from (_bubble if spec.bubble else _merge)(task, preset, state, spec))


def _merge(task: Task, preset: Preset, state: State, spec: Pairs) -> Conclusion:
    comparisons = yield from _compare(task, preset, spec, list(combinations(state.references, 2)), schedule.JUDGES_END)
    points = dict.fromkeys(state.numbers, 0.0)
    for one in comparisons:
        points[one.first.participant.number] += one.points
        points[one.second.participant.number] += 1 - one.points
    drawn = shuffled_order(task.seed, "pair ties", len(points))
    ranking = sorted((state.numbers[index] for index in drawn), key=lambda number: -points[number])
    failure = "no comparison could be read, so all drafts were merged" if _all_unread(comparisons) else None
    kept = ranking if failure else ranking[: spec.top]
    # Shuffled, so that the order does not reveal the rank to the aggregator.
    order = [state.references[index] for index in shuffled_order(task.seed, "pairs", len(points))]
    merged = tuple(reference for reference in order if reference.participant.number in kept)
    facts = {
        "points": {str(number): points[number] for number in ranking},
        "kept": kept,
        "dropped": [number for number in ranking if number not in kept],
        "order": [reference.participant.number for reference in merged],
        **_facts(comparisons),
    }
    by_number = {one.participant.number: one for one in state.references}
    ranked = () if failure else tuple(by_number[number] for number in ranking)
    state = replace(state, references=merged, ranked=ranked)
    answer = yield from synthesize_after(task, preset, state, schedule.WRITING_AFTER_JUDGES)
    notes = (*_notes(comparisons), *((failure,) if failure else ()), *_tie_notes(points, ranking, kept), *answer.notes)
    shortfalls = answer.shortfalls | (frozenset({Shortfall.UNREAD_JUDGE}) if failure else NONE)
    return replace(answer, shortfalls=shortfalls, notes=notes, method={"pairs": facts})


def _tie_notes(points: Mapping[int, float], ranking: Sequence[int], kept: Sequence[int]) -> tuple[str, ...]:
    """A note if a draft that was left out has as many points as one that was merged."""
    if len(kept) == len(ranking) or points[ranking[len(kept)]] < points[kept[-1]]:
        return ()
    equal = " and ".join(str(number) for number in sorted(ranking) if points[number] == points[kept[-1]])
    return (f"slots {equal} have equal points: which of them were merged was drawn",)


def _bubble(task: Task, preset: Preset, state: State, spec: Pairs) -> Conclusion:
    order = [state.references[index] for index in shuffled_order(task.seed, "pairs", len(state.references))]
    best, *others = order
    comparisons: list[Comparison] = []
    for step, other in enumerate(others, start=1):
        until = schedule.conclusion(preset).step_end(step, len(others))
        comparisons += yield from _compare(task, preset, spec, [(best, other)], until)
        best = other if comparisons[-1].points == 0 else best
    failure = "no comparison could be read; the first whole draft is the answer" if _all_unread(comparisons) else None
    best = first_complete(state.references) if failure else best
    facts = {
        "order": [one.participant.number for one in order],
        "chosen": best.participant.number,
        **_facts(comparisons),
    }
    answer = draft_as_answer(best, {"pairs": facts}, failure)
    return replace(answer, notes=(*_notes(comparisons), *answer.notes))


def _compare(
    task: Task, preset: Preset, spec: Pairs, chosen: Sequence[tuple[Reference, Reference]], until: float
) -> Comparing:
    """Compare each pair in both orders, all in parallel."""
    if not chosen:
        return []
    calls = tuple(
        _call(task, preset, spec, *order) for first, second in chosen for order in ((first, second), (second, first))
    )
    replies = yield from ask_forms(Batch(preset.layers, calls, until=until), _FORM)
    verdicts = [one.value for one in replies]
    return [_combine_verdicts(*comparisons) for comparisons in zip(chosen, verdicts[::2], verdicts[1::2], strict=True)]


def _combine_verdicts(
    pair: tuple[Reference, Reference], original: float | None, reversed_order: float | None
) -> Comparison:
    """Combine two verdicts: each is the points of the draft shown first, in the original and the reversed order."""
    known = [verdict for verdict in (original, reversed_order) if verdict is not None]
    agreed = len(known) == 2 and sum(known) == 1
    return Comparison(*pair, known[0] if agreed else 0.5, len(known))


def _call(task: Task, preset: Preset, spec: Pairs, first: Reference, second: Reference) -> Call:
    """Build the call that shows `first` as candidate A and `second` as B; its id has both numbers in this order."""
    messages = compare(task, LabelledCandidates((0, 1), (first.text, second.text), task.nonce).render())
    return judge_call(
        preset,
        spec.model,
        messages,
        "judge",
        layer=preset.layers,
        slot=first.participant.number,
        place=f"{first.participant.number}-{second.participant.number}",
    )


def _read(text: str) -> float | None:
    reply = json_object(text, "better")
    if reply is None:
        return None
    choice = str(reply["better"])
    return _points(_TWO.index(choice), choice)


def _read_loosely(text: str) -> float | None:
    return _points(_TWO.find_choice(text), text)


def _points(better: int | None, choice: str) -> float | None:
    """The points of candidate A if `better` is the index of the better one; else `choice` may be the word for a tie."""
    if better is not None:
        return 1.0 - better
    return 0.5 if _TIE.search(choice) else None


def _all_unread(comparisons: Sequence[Comparison]) -> bool:
    return bool(comparisons) and not any(one.read for one in comparisons)


def _facts(comparisons: Sequence[Comparison]) -> dict[str, Any]:
    return {
        "results": [str(one) for one in comparisons],
        "ties": sum(one.points == 0.5 for one in comparisons),
        "unread": sum(2 - one.read for one in comparisons),
    }


def _notes(comparisons: Sequence[Comparison]) -> tuple[str, ...]:
    unread = sum(2 - one.read for one in comparisons)
    total = 2 * len(comparisons)
    return (f"{unread} of {total} comparisons could not be read and count as ties",) if unread else ()


_FORM = Form(_read, _read_loosely, DryRunReplies('{"better": "A"}', '{"better": "A"}'))
