"""A cascade: samples of a small model answer first, and the panel is asked only if they differ.

Agreement among samples is the sign of confidence, as in Pyramid MoA (arXiv 2602.19509) and FrugalGPT.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from moa_mcp.domain.fields import ModelSettingsOrId, Share
from moa_mcp.domain.model import SAMPLER, Batch, Call, Draft, Task
from moa_mcp.domain.preset import Preset
from moa_mcp.domain.stages import ROUTES, RouteSpec
from moa_mcp.domain.text import strip_invisible
from moa_mcp.flows import schedule
from moa_mcp.flows.calls import call_notes, lost_drafts, make_call
from moa_mcp.flows.compare.answers import tally_answers
from moa_mcp.flows.compare.grouping import Judge, group_drafts
from moa_mcp.flows.route.short_circuit import answer_directly, messages_for_solo, reference_without_slot
from moa_mcp.flows.state import Stage, State


class Agreement(RouteSpec):
    """Samples of a small model answer first; only where they differ is the panel asked (a cascade)."""

    by: Literal["agreement"]
    easy: ModelSettingsOrId = Field(description="The small model that is asked first.")
    samples: Annotated[int, Field(ge=2, le=16)] = Field(default=3, description="How many times it answers.")
    agree: Share = Field(
        default=0.8,
        description="The share of the samples, from 0 to 1, that has to say the same; with less, the panel is asked.",
    )
    model: ModelSettingsOrId | None = Field(
        default=None,
        description="The model that says which samples are the same where their answers do not show it: one call at "
        "most. Unset: the small model.",
    )

    compares_answers: ClassVar[bool] = True
    share_of_time: ClassVar[float | None] = schedule.SAMPLES_COMPARED_END


@ROUTES.register(Agreement)
def agreement(task: Task, preset: Preset, state: State, spec: Agreement) -> Stage:
    """Answer with one of the samples if they agree; else the panel answers, and its first layer reads the best sample.

    Agreement is the share of the samples that say the same: by their answers, or, where these do not show it, by the
    word of a judge. Similarity is no agreement, because texts that contradict each other can be similar. A sample that
    failed or was cut agrees with no other.
    """
    calls = tuple(_call(task, preset, spec, number) for number in range(1, spec.samples + 1))
    outcomes = yield Batch(1, calls, until=schedule.EASY_END)
    state = state.with_notes(*call_notes(calls, outcomes))
    drafts = [outcome for outcome in outcomes if isinstance(outcome, Draft) and not outcome.unfinished]
    if not drafts:
        route = {"by": "agreement", "samples": 0, "to": "panel"}
        return state.with_notes("no sample of the small model is whole: the panel answers").with_facts(route=route)
    texts = [strip_invisible(draft.text) for draft in drafts]
    tally = tally_answers(texts, task.question)
    enough = math.ceil(spec.agree * spec.samples - 1e-9)
    judge = Judge(spec.model or spec.easy, 1, schedule.SAMPLES_COMPARED_END, "samples")
    found = yield from group_drafts(task, preset, texts, tally, judge, enough=enough)
    most = found.groups[0]
    best = reference_without_slot(spec.easy, drafts[most[0]])
    agreed = len(most) >= enough
    facts = {
        "by": "agreement",
        "samples": len(drafts),
        "agreement": round(len(most) / spec.samples, 4),
        "of": "texts" if None in tally.forms else "answers",
        **found.facts,
        "to": spec.easy.model if agreed else "panel",
    }
    state = state.with_notes(*found.notes).with_facts(route=facts).with_shortfalls(*found.shortfalls)
    if agreed:
        state = state.with_lost(lost_drafts(calls, outcomes))
        return answer_directly(task, state, best, "the samples of the small model agree")
    return replace(state, references=(best,))


def _call(task: Task, preset: Preset, spec: Agreement, number: int) -> Call:
    messages = messages_for_solo(task, preset, spec.easy)
    return make_call(spec.easy, messages, f"1.sample.{number}", SAMPLER, layer=1, slot=number)
