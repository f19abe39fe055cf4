"""LLM Council: each member ranks anonymous drafts; the aggregator, as chairman, reads drafts and votes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from moa_mcp.domain.fields import Sampling
from moa_mcp.domain.model import Batch, Call, Likely, Task
from moa_mcp.domain.preset import Preset
from moa_mcp.domain.stages import Council
from moa_mcp.domain.text import one_line
from moa_mcp.flows.calls import JUDGES_SHARE
from moa_mcp.flows.candidates import Ballot, ballot
from moa_mcp.flows.conclude.reviewed import Review, reviewed
from moa_mcp.flows.conclude.synthesize import fused
from moa_mcp.flows.state import Conclusion, State
from moa_mcp.flows.structured_reply import Asked, ask_each, json_object, judge_call
from moa_mcp.prompts import judge as judge_prompts

LONGEST_REMARKS = 1_000


@dataclass(frozen=True, slots=True)
class Ranking:
    """All drafts as one member ranks them: their indices, the best first."""

    order: tuple[int, ...]
    remarks: str = ""


def council(task: Task, preset: Preset, state: State, spec: Council) -> Conclusion:
    """Let every member that has a draft rank all drafts, then the chairman write.

    A ranking that cannot be read is left out; without any the chairman writes from the drafts alone.
    """
    if len(state.references) == 1:
        answer = yield from fused(task, preset, state)
        return replace(answer, method={"council": {"how": "the only draft"}})
    shown = ballot(task, "council", state.texts)
    members = _members(state)
    batch = Batch(
        preset.layers,
        tuple(_call(task, preset, shown, number, member) for member, number in members.items()),
        grace_seconds=preset.straggler_grace_seconds,
        until=JUDGES_SHARE,
    )
    asked = yield from ask_each(batch, lambda text: _read(shown, text), lambda text: _read_loosely(shown, text))
    votes = dict(zip(members.values(), asked, strict=True))
    return (yield from reviewed(task, preset, state, _review(shown, state.numbers, votes)))


def _members(state: State) -> Mapping[Sampling, int]:
    """Each distinct proposer that has a draft, with the number of its seat: samples of one are one member."""
    members: dict[Sampling, int] = {}
    for reference in state.references:
        if isinstance(reference.seat.slot, Sampling):
            members.setdefault(reference.seat.slot, reference.seat.number)
    return members


def _call(task: Task, preset: Preset, shown: Ballot, number: int, member: Sampling) -> Call:
    likely = json.dumps({"ranking": shown.letters})
    return judge_call(
        preset,
        member,
        # All see the same letters, but each another candidate first.
        judge_prompts.member(task, shown.shown(number % len(shown.letters))),
        "ranker",
        layer=preset.layers,
        slot=number,
        place=str(number),
        likely=Likely(likely, likely),
    )


def _review(shown: Ballot, numbers: Sequence[int], votes: Mapping[int, Asked[Ranking]]) -> Review:
    """What the votes, by the number of the member's seat, come to; `numbers` are the drafts' seats."""
    rankings = {member: vote.value for member, vote in votes.items() if vote.value is not None}
    unread = {member: vote.how for member, vote in votes.items() if vote.value is None}
    means = {
        label: round(fmean(ranking.order.index(index) + 1 for ranking in rankings.values()), 2)
        for label, index in shown.mapping.items()
        if rankings
    }
    facts = {
        "letters": shown.naming(numbers),
        "rankings": {str(member): [numbers[index] for index in ranking.order] for member, ranking in rankings.items()},
        "average_rank": {str(numbers[shown.mapping[label]]): mean for label, mean in means.items()},
        "unread": {str(member): how for member, how in unread.items()},
    }
    notes = [f"the ranking of member {member} was left out: {how}" for member, how in unread.items()]
    if not rankings:
        notes.append("no member ranked the drafts; they were merged without ranks")
        return Review(shown, None, {"council": facts}, tuple(notes))
    said = [_as_said(shown, ranking) for ranking in rankings.values()]
    return Review(shown, judge_prompts.ranked(shown.letters, means, said), {"council": facts}, tuple(notes))


def _as_said(shown: Ballot, ranking: Ranking) -> str:
    labels = {index: label for label, index in shown.mapping.items()}
    order = " > ".join(labels[index] for index in ranking.order)
    return f"{order}. {ranking.remarks}".rstrip()


def _read(shown: Ballot, text: str) -> Ranking | None:
    reply = json_object(text, "ranking")
    order = shown.listed(reply["ranking"]) if reply else None
    if reply is None or order is None or len(order) != len(shown.order):
        return None
    return Ranking(tuple(order), one_line(str(reply.get("remarks", "")), LONGEST_REMARKS))


def _read_loosely(shown: Ballot, text: str) -> Ranking | None:
    """A ranking at the end of prose: the last letters named, if they are all of them, once each."""
    last = shown.mentioned(text)[-len(shown.order) :]
    return Ranking(tuple(last)) if set(last) == set(shown.order) else None
