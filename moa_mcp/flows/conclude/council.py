"""LLM Council: each member ranks the anonymous drafts; the aggregator, as chairman, reads drafts and rankings."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from statistics import fmean
from typing import Literal

from moa_mcp.domain.fields import ModelSettings
from moa_mcp.domain.model import Batch, Call, DryRunReplies, Task
from moa_mcp.domain.preset import Preset
from moa_mcp.domain.stages import CONCLUDES, ConcludeSpec
from moa_mcp.domain.text import one_line
from moa_mcp.flows import schedule
from moa_mcp.flows.candidates import LabelledCandidates, label_candidates
from moa_mcp.flows.conclude.synthesize import Review, answer_with_review, synthesize_after
from moa_mcp.flows.state import Conclusion, State
from moa_mcp.flows.structured_reply import Form, FormReply, ask_forms, json_object, judge_call
from moa_mcp.prompts import judge as judge_prompts

MAX_REMARKS_CHARS = 1_000


class Council(ConcludeSpec):
    """Every proposer ranks the anonymous drafts; the aggregator, as chairman, reads drafts and ranks (LLM Council)."""

    by: Literal["council"]


@dataclass(frozen=True, slots=True)
class Ranking:
    """One member's ranking of all drafts: their indices, the best first."""

    order: tuple[int, ...]
    remarks: str = ""


@CONCLUDES.register(Council)
def council(task: Task, preset: Preset, state: State, spec: Council) -> Conclusion:
    """Let every member with a draft rank all drafts; then the chairman writes the answer.

    A ranking that cannot be read is left out. Without any ranking, the chairman uses only the drafts.
    """
    if len(state.references) == 1:
        answer = yield from synthesize_after(task, preset, state)
        return replace(answer, method={"council": {"how": "the only draft"}})
    shown = label_candidates(task, "council", state.texts)
    members = _members(state)
    batch = Batch(
        preset.layers,
        tuple(_call(task, preset, shown, number, member) for member, number in members.items()),
        grace_seconds=preset.straggler_grace_seconds,
        until=schedule.JUDGES_END,
    )
    example = json.dumps({"ranking": shown.letters})
    form = Form(partial(_read, shown), partial(_read_loosely, shown), DryRunReplies(example, example))
    replies = yield from ask_forms(batch, form)
    votes = dict(zip(members.values(), replies, strict=True))
    return (yield from answer_with_review(task, preset, state, _review(shown, state.numbers, votes)))


def _members(state: State) -> Mapping[ModelSettings, int]:
    """Map each distinct proposer with a draft to the number of its first participant: its samples are one member."""
    members: dict[ModelSettings, int] = {}
    for reference in state.references:
        if isinstance(reference.participant.slot, ModelSettings):
            members.setdefault(reference.participant.slot, reference.participant.number)
    return members


def _call(task: Task, preset: Preset, shown: LabelledCandidates, number: int, member: ModelSettings) -> Call:
    return judge_call(
        preset,
        member,
        # All members see the same letters, but each sees another candidate first.
        judge_prompts.member(task, shown.render(number % len(shown.letters))),
        "ranker",
        layer=preset.layers,
        slot=number,
        place=str(number),
    )


def _review(shown: LabelledCandidates, numbers: Sequence[int], votes: Mapping[int, FormReply[Ranking]]) -> Review:
    """Summarise the votes, by the member's participant number; `numbers` are the participants of the drafts."""
    rankings = {member: vote.value for member, vote in votes.items() if vote.value is not None}
    unread = {member: vote.outcome for member, vote in votes.items() if vote.value is None}
    means = {
        label: round(fmean(ranking.order.index(index) + 1 for ranking in rankings.values()), 2)
        for label, index in shown.mapping.items()
        if rankings
    }
    facts = {
        "letters": shown.by_letter(numbers),
        "rankings": {str(member): [numbers[index] for index in ranking.order] for member, ranking in rankings.items()},
        "average_rank": {str(numbers[shown.mapping[label]]): mean for label, mean in means.items()},
        "unread": {str(member): how for member, how in unread.items()},
    }
    notes = [f"the ranking of member {member} was left out: {how}" for member, how in unread.items()]
    if not rankings:
        notes.append("no member ranked the drafts; they were merged without ranks")
        return Review(shown, None, {"council": facts}, tuple(notes))
    labels = {index: label for label, index in shown.mapping.items()}
    text = [
        f"{' > '.join(labels[index] for index in ranking.order)}. {ranking.remarks}".rstrip()
        for ranking in rankings.values()
    ]
    ranking = tuple(
        shown.mapping[label] for label in sorted(means, key=lambda label: (means[label], shown.mapping[label]))
    )
    remarks = judge_prompts.ranking_note(shown.letters, means, text)
    return Review(shown, remarks, {"council": facts}, tuple(notes), ranking)


def _read(shown: LabelledCandidates, text: str) -> Ranking | None:
    reply = json_object(text, "ranking")
    order = shown.indices(reply["ranking"], numbered=False) if reply else None  # each member sees another order
    if reply is None or order is None or len(order) != len(shown.order):
        return None
    return Ranking(tuple(order), one_line(str(reply.get("remarks", "")), MAX_REMARKS_CHARS))


def _read_loosely(shown: LabelledCandidates, text: str) -> Ranking | None:
    """Read a ranking at the end of prose: the last letters mentioned, if they are all letters, once each."""
    last = shown.find_mentions(text)[-len(shown.order) :]
    return Ranking(tuple(last)) if set(last) == set(shown.order) else None
