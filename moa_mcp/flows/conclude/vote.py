"""Choose the answer of most drafts (self-consistency); open texts vote by similarity (More Agents).

Wang et al. 2022 and Li et al. 2024 (arXiv 2402.05120). A model is asked only which answers are the same, and only where
their forms do not show it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field

from moa_mcp.domain.fields import ModelSettingsOrId, PromptText
from moa_mcp.domain.model import Task
from moa_mcp.domain.preset import Preset
from moa_mcp.domain.regex import compile_linear
from moa_mcp.domain.shortfalls import NONE, Shortfall, Shortfalls
from moa_mcp.domain.stages import CONCLUDES, ConcludeSpec
from moa_mcp.domain.text import one_line
from moa_mcp.flows import schedule
from moa_mcp.flows.compare.answers import Tally, tally_answers
from moa_mcp.flows.compare.grouping import Grouping, Judge, group_answers
from moa_mcp.flows.compare.similarity import compare_texts
from moa_mcp.flows.conclude.take import draft_as_answer
from moa_mcp.flows.state import Conclusion, State


def _check_pattern(pattern: str) -> str:
    """Return `pattern` if it compiles to a search in linear time; else raise an error."""
    compile_linear(pattern)
    return pattern


class Vote(ConcludeSpec):
    """The answer that most drafts come to; open texts vote by similarity (self-consistency, More Agents)."""

    by: Literal["vote"]
    pattern: Annotated[PromptText, AfterValidator(_check_pattern)] | None = Field(
        default=None,
        description="A regular expression whose first group is a draft's answer. It is searched line by line, from "
        "the last line up. Unset: the answer is found by its usual forms.",
    )
    model: ModelSettingsOrId | None = Field(
        default=None,
        description="The model that says which answers are the same where their forms do not show it: one call at "
        "most. Unset: the aggregator's model.",
    )

    compares_answers: ClassVar[bool] = True
    drafts_end: ClassVar[float | None] = schedule.VOTERS_END


@CONCLUDES.register(Vote)
def vote(task: Task, preset: Preset, state: State, spec: Vote) -> Conclusion:
    """Answer with the first draft that has the most frequent answer; of tied answers, the earliest wins.

    Drafts that were cut do not vote. A tie, or fewer than half of the votes, is a note, and the answer is degraded. If
    more than half of the drafts state no answer, the draft that is most similar to the others wins.
    """
    whole = tuple(one for one in state.references if not one.draft.unfinished)
    voters = replace(state, references=whole or state.references)
    tally = tally_answers(voters.texts, task.question, compile_linear(spec.pattern) if spec.pattern else None)
    answer = yield from (_vote_by_similarity if tally.is_open else _vote_by_answer)(task, preset, voters, spec, tally)
    if not whole:
        return replace(answer, notes=("every draft was cut", *answer.notes))
    cut = len(state.references) - len(whole)
    return replace(answer, notes=(f"drafts that were cut do not vote: {cut}", *answer.notes)) if cut else answer


def _vote_by_answer(task: Task, preset: Preset, state: State, spec: Vote, tally: Tally) -> Conclusion:
    stated = [index for index, form in enumerate(tally.forms) if form is not None]
    judge = Judge(spec.model, preset.layers, schedule.RUN_END)
    found = Grouping(tally.groups)
    if spec.pattern is None:
        found = yield from group_answers(task, preset, tally, judge, enough=len(stated) // 2 + 1)
    tally = tally.with_groups(found.groups)
    chosen = state.references[tally.first]
    answer = draft_as_answer(chosen, {"vote": {**_answer_facts(state, tally), **found.facts}})
    doubts, doubt_notes = _doubts(tally)
    notes = (*doubt_notes, *found.notes, *answer.notes)
    return replace(answer, shortfalls=answer.shortfalls | found.shortfalls | doubts, notes=notes)


def _doubts(tally: Tally) -> tuple[Shortfalls, tuple[str, ...]]:
    """The shortfall and a note if the most frequent answer has no clear majority."""
    most, *others = tally.votes.items()
    if tally.tied:
        names = " and ".join(one_line(name) for name, votes in (most, *others) if votes == most[1])
        tie = f"the vote is a tie of {names}, with {most[1]} of {len(tally.forms)} votes each: the first is the answer"
        return frozenset({Shortfall.TIE}), (tie,)
    if tally.is_minority:
        few = f"fewer than half of the drafts say so: {one_line(most[0])} has {most[1]} of {len(tally.forms)} votes"
        return frozenset({Shortfall.MINORITY}), (few,)
    return NONE, ()


def _answer_facts(state: State, tally: Tally) -> dict[str, Any]:
    answers = {
        str(number): one_line(answer) if answer else None
        for number, answer in zip(state.numbers, tally.answers, strict=True)
    }
    votes = [{"answer": one_line(answer), "votes": votes} for answer, votes in tally.votes.items()]
    chosen = state.numbers[tally.first]
    return {"by": "answer", "chosen": chosen, "tie": tally.tied, "votes": votes, "answers": answers}


def _vote_by_similarity(task: Task, preset: Preset, state: State, spec: Vote, tally: Tally) -> Conclusion:
    found = yield from compare_texts(task, state.texts, layer=preset.layers, until=schedule.RUN_END)
    scores = [sum(row) - row[index] for index, row in enumerate(found.matrix)]
    best = max(scores)
    facts = {
        "by": "similarity",
        **found.facts,
        "chosen": state.numbers[scores.index(best)],
        "tie": len(scores) > 1 and scores.count(best) > 1,
        "scores": {str(number): round(score, 4) for number, score in zip(state.numbers, scores, strict=True)},
        "unread": tally.answers.count(None),
    }
    note = "most drafts have no short answer to count: the one that is most like the others is the answer"
    answer = draft_as_answer(state.references[scores.index(best)], {"vote": facts})
    return replace(answer, notes=(*answer.notes, note, *found.notes))
