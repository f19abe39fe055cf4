"""Aggregate several subsets of the drafts and compare the outputs: does the answer depend on one draft?

After Wolf et al. 2025 (arXiv 2503.05856): Dropout & Vote gives the answer of most subsets; Dropout & Cluster drops the
outputs of a minority of subsets and aggregates the others. `leave-one-out` does not change the answer, but reports
the drafts that it depends on.

With `reads`, each aggregation reads only so many drafts, in rotating subsets: every draft is then in equally many
outputs. If that is fewer than half of them, a single dishonest draft cannot reach a majority. The paper warns that
partial information makes single agents worse; here it is the vote or the clusters over all outputs that decide.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, Any, ClassVar, Literal, TypeAlias

from pydantic import Field
from pydantic_core import PydanticCustomError

from moa_mcp.domain.fields import Count, ModelSettingsOrId, constraint_error
from moa_mcp.domain.model import Answer, Batch, Call, Draft, Outcome, Task
from moa_mcp.domain.preset import Preset
from moa_mcp.domain.shortfalls import NONE, Shortfall
from moa_mcp.domain.stages import CONCLUDES, ConcludeSpec
from moa_mcp.domain.text import one_line, strip_invisible
from moa_mcp.flows import schedule
from moa_mcp.flows.calls import call_notes, make_call
from moa_mcp.flows.candidates import draw_number, shuffled_order
from moa_mcp.flows.compare.answers import tally_answers
from moa_mcp.flows.compare.clustering import Clustering, TwoClusters, cluster_drafts
from moa_mcp.flows.compare.grouping import Judge, group_answers
from moa_mcp.flows.compare.similarity import compare_texts
from moa_mcp.flows.conclude.synthesize import aggregator_prompt, most_alike, synthesize_after, write_answer
from moa_mcp.flows.state import Conclusion, State

Subset: TypeAlias = tuple[int, ...]
"""Indices of drafts, in order."""


class Subsets(ConcludeSpec):
    """Several subsets of the drafts are aggregated and the answers compared (Dropout & Vote, Dropout & Cluster)."""

    by: Literal["subsets"]
    mode: Literal["leave-one-out", "vote", "cluster"] = Field(
        default="leave-one-out",
        description="leave-one-out: aggregate all drafts, and all but one each time, and say whether the answer "
        "flips. vote: the answer of most subsets. cluster: an answer of the largest cluster.",
    )
    most: Annotated[int, Field(ge=1, le=64)] = Field(
        default=15, description="The most subsets that are drawn; each is one aggregator call."
    )
    reads: Count | None = Field(
        default=None,
        description="How many drafts each aggregation reads, in rotating subsets: as many calls as drafts. With fewer "
        "than half of the drafts, one dishonest draft is in a minority of the outputs. For vote and cluster. "
        "Unset: subsets of every size.",
    )
    model: ModelSettingsOrId | None = Field(
        default=None,
        description="The model that says which outputs are the same where their answers do not show it: one call at "
        "most. Unset: the aggregator's model.",
    )

    compares_answers: ClassVar[bool] = True

    def problems(self, preset: Preset) -> Iterator[PydanticCustomError]:
        """Subsets that rotate have a size below the number of drafts, and leave-one-out has its own."""
        slots = len(preset.slots)
        if self.reads is not None and self.mode == "leave-one-out":
            yield constraint_error(
                "leave-one-out reads all drafts but one", "mode vote or cluster", "conclude", "reads"
            )
        elif self.reads is not None and self.reads >= slots:
            problem = f"each aggregation reads {self.reads} drafts, but {preset.slots_in_words}"
            yield constraint_error(problem, f"at most {slots - 1}", "conclude", "reads")


@dataclass(frozen=True, slots=True)
class Variant:
    """The aggregator's output for one subset."""

    subset: Subset
    draft: Draft


@dataclass(frozen=True, slots=True)
class Variants:
    """The aggregations that succeeded, the subsets whose aggregation failed, and notes for the reader of the answer."""

    made: tuple[Variant, ...] = ()
    failed: tuple[Subset, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def texts(self) -> list[str]:
        return [strip_invisible(variant.draft.text) for variant in self.made]


@CONCLUDES.register(Subsets)
def subsets(task: Task, preset: Preset, state: State, spec: Subsets) -> Conclusion:
    """Aggregate the subsets and conclude as `mode` says; with one draft, or without any output, merge all drafts."""
    count = len(state.references)
    chosen = _choose_subsets(spec, count, task.seed)
    made = yield from _aggregate_each(task, preset, state, chosen if count > 1 else ())
    if not made.made:
        return (
            yield from _merge_all(task, preset, state, made, "no subset could be aggregated" if count > 1 else None)
        )
    end = {"leave-one-out": _leave_one_out, "vote": _vote, "cluster": _cluster}[spec.mode]
    answer = yield from end(task, preset, state, spec, made)
    failed = [[state.numbers[index] for index in subset] for subset in made.failed]
    facts = {"mode": spec.mode, "subsets": len(chosen), "lost": failed, **answer.method.get("subsets", {})}
    return replace(answer, notes=(*made.notes, *answer.notes), method={**answer.method, "subsets": facts})


def _choose_subsets(spec: Subsets, count: int, seed: int) -> tuple[Subset, ...]:
    if spec.mode == "leave-one-out":
        return leave_one_out(count, spec.most, seed)
    return rotate_subsets(count, spec.reads, spec.most, seed) if spec.reads else draw_subsets(count, spec.most, seed)


def rotate_subsets(count: int, size: int, max_subsets: int, seed: int) -> tuple[Subset, ...]:
    """One subset of `size` for each of `count` drafts, `max_subsets` at most.

    The seed puts the drafts into a circle, and each begins a subset of neighbours. So all are in equally many subsets,
    unless the limit is below `count`.
    """
    circle = shuffled_order(seed, "circle", count)
    starts = range(min(count, max_subsets)) if size < count else range(1)
    return tuple(tuple(sorted(circle[(start + step) % count] for step in range(min(size, count)))) for start in starts)


def draw_subsets(count: int, max_subsets: int, seed: int) -> tuple[Subset, ...]:
    """All non-empty subsets of `count` drafts, or `max_subsets` different ones that the seed draws."""
    possible = 2**count - 1
    chosen = range(1, possible + 1) if possible <= max_subsets else sorted(_draw(possible, max_subsets, seed))
    return tuple(tuple(index for index in range(count) if number >> index & 1) for number in chosen)


def _draw(possible: int, max_subsets: int, seed: int) -> set[int]:
    numbers: set[int] = set()
    tries = 0
    while len(numbers) < max_subsets:
        numbers.add(1 + int(draw_number(seed, f"subset/{tries}") * possible))
        tries += 1
    return numbers


def leave_one_out(count: int, max_subsets: int, seed: int) -> tuple[Subset, ...]:
    """Each set of `count` drafts without one of them; if there are more than `max_subsets`, the seed draws them."""
    without = sorted(shuffled_order(seed, "left out", count)[:max_subsets])
    return tuple(tuple(index for index in range(count) if index != left_out) for left_out in without)


def _aggregate_each(
    task: Task, preset: Preset, state: State, chosen: Sequence[Subset]
) -> Generator[Batch, Sequence[Outcome], Variants]:
    if not chosen:
        return Variants()
    calls = tuple(_call(task, preset, state, subset, number) for number, subset in enumerate(chosen, start=1))
    outcomes = yield Batch(
        preset.layers, calls, grace_seconds=preset.straggler_grace_seconds, until=schedule.variants_end(preset)
    )
    pairs = list(zip(chosen, outcomes, strict=True))
    whole = tuple(Variant(subset, one) for subset, one in pairs if isinstance(one, Draft) and not one.cut)
    known = {variant.subset for variant in whole}
    return Variants(whole, tuple(one for one in chosen if one not in known), tuple(call_notes(calls, outcomes)))


def _call(task: Task, preset: Preset, state: State, subset: Subset, number: int) -> Call:
    part = replace(state, references=tuple(state.references[index] for index in subset))
    prompt = aggregator_prompt(task, preset, part.texts, part.reader_notes)
    messages = prompt(preset.aggregator.model, preset.prompt_style)
    identity = f"{preset.layers}.variant.{number}"
    return make_call(preset.aggregator, messages, identity, "variant", layer=preset.layers, slot=number)


def _merge_all(task: Task, preset: Preset, state: State, made: Variants, failed: str | None) -> Conclusion:
    answer = yield from synthesize_after(task, preset, state, schedule.WRITING_AFTER_JUDGES)
    notes = (*made.notes, *((f"{failed}: the drafts were merged without",) if failed else ()), *answer.notes)
    shortfalls = answer.shortfalls | (frozenset({Shortfall.FALLBACK}) if failed else NONE)
    return replace(answer, shortfalls=shortfalls, notes=notes)


def _leave_one_out(task: Task, preset: Preset, state: State, spec: Subsets, made: Variants) -> Conclusion:
    """Aggregate all drafts, and report the drafts without which the answer would differ: it is then degraded."""
    answer = yield from synthesize_after(task, preset, state, schedule.WRITING_BEFORE_COMPARISON)
    judge = Judge(spec.model, preset.layers, schedule.RUN_END, "flips")
    other, compared = yield from _differing_variants(task, preset, answer.text, made, judge)
    left_out = [_missing_slot(state, made.made[index].subset) for index in other]
    notes = [f"without the draft of slot {number} the answer would be another" for number in left_out]
    flip = frozenset({Shortfall.FLIP}) if left_out else NONE
    return replace(
        answer,
        shortfalls=answer.shortfalls | compared.shortfalls | flip,
        notes=(*notes, *compared.notes, *answer.notes),
        method={**answer.method, "subsets": {"flips": left_out, **compared.facts}},
    )


def _differing_variants(
    task: Task, preset: Preset, answer: str, made: Variants, judge: Judge
) -> Generator[Batch, Sequence[Outcome], tuple[list[int], Clustering]]:
    """The variants that say something else than the answer does."""
    compared = yield from cluster_drafts(task, preset, [strip_invisible(answer), *made.texts], judge)
    own = next((group for group in compared.parts if 0 in group), ())
    return [index for index in range(len(made.made)) if index + 1 not in own], compared


def _missing_slot(state: State, subset: Subset) -> int:
    return next(number for index, number in enumerate(state.numbers) if index not in subset)


def _vote(task: Task, preset: Preset, state: State, spec: Subsets, made: Variants) -> Conclusion:
    """Answer with the answer of most subsets; the seed decides ties, which degrade. Open texts vote by similarity."""
    tally = tally_answers(made.texts, task.question)
    if tally.is_open:
        found = yield from compare_texts(task, made.texts, layer=preset.layers, place="vote", until=schedule.RUN_END)
        scores = [round(sum(row), 9) for row in found.matrix]
        note = "most subsets come to no short answer: the output that is most like the others is the answer"
        return _vote_result(
            state, made.made[scores.index(max(scores))], {"by": "similarity", **found.facts}, note, *found.notes
        )
    judge = Judge(spec.model, preset.layers, schedule.RUN_END, "vote")
    grouped = yield from group_answers(task, preset, tally, judge, enough=len(made.made) // 2 + 1)
    tally = tally.with_groups(grouped.groups)
    winners = [group for group in tally.groups if len(group) == len(tally.groups[0])]
    winner = winners[shuffled_order(task.seed, "subset vote", len(winners))[0]]
    votes = [{"answer": one_line(one), "votes": votes} for one, votes in tally.votes.items()]
    facts = {"by": "answer", "votes": votes, "tie": tally.tied, **grouped.facts}
    doubts: Mapping[Shortfall, str] = {}
    if tally.tied:
        doubts = {Shortfall.TIE: "the vote of the subsets is a tie: the answer was drawn"}
    elif tally.is_minority:
        doubts = {Shortfall.MINORITY: "fewer than half of the subsets come to the answer"}
    answer = _vote_result(state, made.made[winner[0]], facts, *doubts.values(), *grouped.notes)
    return replace(answer, shortfalls=answer.shortfalls.union(grouped.shortfalls, doubts))


def _vote_result(state: State, chosen: Variant, facts: Mapping[str, Any], *notes: str) -> Answer:
    slots = [state.numbers[index] for index in chosen.subset]
    return Answer(chosen.draft.text, chosen.draft.shortfalls_as_answer, notes, {"subsets": {"chosen": slots, **facts}})


def _cluster(task: Task, preset: Preset, state: State, spec: Subsets, made: Variants) -> Conclusion:
    """Aggregate the outputs of the subsets, without those of a minority that differs clearly."""
    judge = Judge(spec.model, preset.layers, schedule.JUDGES_END, "cluster")
    clusters = yield from cluster_drafts(task, preset, made.texts, judge)
    groups = clusters.groups
    facts = {
        "dropped": [[state.numbers[index] for index in made.made[place].subset] for place in groups.dropped],
        "distance": round(groups.distance, 4),
        "tie": groups.tied,
        **clusters.facts,
    }
    drafts = [made.made[place].draft for place in groups.kept]
    texts = [strip_invisible(draft.text) for draft in drafts]
    prompt = aggregator_prompt(task, preset, texts, state.extra)
    answer = yield from write_answer(preset, prompt, partial(most_alike, drafts), schedule.WRITING_AFTER_JUDGES)
    notes = (*clusters.notes, *_group_notes(groups), *answer.notes)
    tie = frozenset({Shortfall.TIE}) if groups.tied else NONE
    shortfalls = answer.shortfalls | clusters.shortfalls | tie
    return replace(answer, shortfalls=shortfalls, notes=notes, method={**answer.method, "subsets": facts})


def _group_notes(groups: TwoClusters) -> list[str]:
    """Notes for the reader of the answer about two groups of aggregations."""
    every = len(groups.larger) + len(groups.smaller)
    if groups.tied:
        return [f"the {every} aggregations fall into two groups of one size: all were kept"]
    count = len(groups.dropped)
    return [f"{count} of {every} aggregations differ from the others and were set aside"] if count else []
