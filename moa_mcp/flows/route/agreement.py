"""A cascade: samples of a small model answer first, and the panel is asked only if they differ.

Agreement among samples is the sign of confidence, as in Pyramid MoA (arXiv 2602.19509) and FrugalGPT.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Annotated, ClassVar, Literal, TypeAlias

from pydantic import Field

from moa_mcp.domain.fields import ModelSettingsOrId, Share
from moa_mcp.domain.model import Batch, Call, Draft, Outcome, Task
from moa_mcp.domain.preset import Preset
from moa_mcp.domain.stages import ROUTES, RouteSpec
from moa_mcp.domain.text import strip_invisible
from moa_mcp.flows import schedule
from moa_mcp.flows.calls import call_notes, make_call
from moa_mcp.flows.compare.answers import tally_answers
from moa_mcp.flows.compare.similarity import compare_texts
from moa_mcp.flows.route.short_circuit import SAMPLER, answer_directly, messages_for_solo, reference_without_slot
from moa_mcp.flows.state import Stage, State


class Agreement(RouteSpec):
    """Samples of a small model answer first; only where they differ is the panel asked (a cascade)."""

    by: Literal["agreement"]
    easy: ModelSettingsOrId = Field(description="The small model that is asked first.")
    samples: Annotated[int, Field(ge=2, le=16)] = Field(default=3, description="How many times it answers.")
    agree: Share = Field(
        default=0.8,
        description="The share of the samples, from 0 to 1, that has to agree; with less, the panel is asked.",
    )
    share_of_time: ClassVar[float | None] = schedule.SAMPLES_COMPARED_END


@ROUTES.register(Agreement)
def agreement(task: Task, preset: Preset, state: State, spec: Agreement) -> Stage:
    """Answer with one of the samples if they agree; else the panel answers, and its first layer reads the best sample.

    Agreement is the share of the samples with the most frequent short answer, or, if most have none, the mean
    similarity of two samples. A sample that failed agrees with no other.
    """
    calls = tuple(_call(task, preset, spec, number) for number in range(1, spec.samples + 1))
    outcomes = yield Batch(1, calls, until=schedule.EASY_END)
    state = state.with_notes(*call_notes(calls, outcomes))
    drafts = [outcome for outcome in outcomes if isinstance(outcome, Draft) and not outcome.unfinished]
    if not drafts:
        route = {"by": "agreement", "samples": 0, "to": "panel"}
        return state.with_notes("no sample of the small model is whole: the panel answers").with_facts(route=route)
    consensus = yield from _find_consensus(task, [strip_invisible(draft.text) for draft in drafts], spec)
    best = reference_without_slot(spec.easy, drafts[consensus.index])
    agreed = consensus.share >= spec.agree - 1e-9
    facts = {"by": "agreement", "samples": len(drafts), "agreement": round(consensus.share, 4), **consensus.facts}
    state = state.with_notes(*consensus.notes).with_facts(route={**facts, "to": spec.easy.model if agreed else "panel"})
    if agreed:
        return answer_directly(task, state, best, "the samples of the small model agree")
    return replace(state, references=(best,))


@dataclass(frozen=True, slots=True)
class _Consensus:
    """The consensus of the samples: the index of the most typical one, and how far they agree (0 to 1)."""

    index: int
    share: float
    facts: dict[str, str]
    notes: tuple[str, ...] = ()


_Comparing: TypeAlias = Generator[Batch, Sequence[Outcome], _Consensus]


def _find_consensus(task: Task, texts: Sequence[str], spec: Agreement) -> _Comparing:
    tally = tally_answers(texts)
    if not tally.is_open:
        return _Consensus(tally.first, max(tally.votes.values()) / spec.samples, {"of": "answers"})
    found = yield from compare_texts(task, texts, layer=1, place="samples", until=schedule.SAMPLES_COMPARED_END)
    similarities = [found.matrix[a][b] for a, b in combinations(range(len(texts)), 2)]
    # A sample that failed is similar to no other: its pairs count as 0.
    pairs = spec.samples * (spec.samples - 1) // 2
    scores = [sum(row) for row in found.matrix]
    return _Consensus(scores.index(max(scores)), sum(similarities) / pairs, {"of": "texts", **found.facts}, found.notes)


def _call(task: Task, preset: Preset, spec: Agreement, number: int) -> Call:
    messages = messages_for_solo(task, preset, spec.easy)
    return make_call(spec.easy, messages, f"1.sample.{number}", SAMPLER, layer=1, slot=number)
