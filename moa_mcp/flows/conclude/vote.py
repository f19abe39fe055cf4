"""Choose the answer of most drafts (self-consistency); open texts vote by similarity (More Agents).

Wang et al. 2022 and Li et al. 2024 (arXiv 2402.05120). No model is asked to judge.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from moa_mcp.domain.fields import PromptText
from moa_mcp.domain.model import Task
from moa_mcp.domain.preset import Preset
from moa_mcp.domain.regex import compile_linear
from moa_mcp.domain.stages import CONCLUDES, ConcludeSpec
from moa_mcp.domain.text import one_line
from moa_mcp.flows import schedule
from moa_mcp.flows.compare.answers import Tally, tally_answers
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


@CONCLUDES.register(Vote)
def vote(task: Task, preset: Preset, state: State, spec: Vote) -> Conclusion:
    """Answer with the first draft that has the most frequent answer; the facts show a tie, and the earliest wins.

    If more than half of the drafts have no short answer, the draft that is most similar to the others wins.
    """
    tally = tally_answers(state.texts, compile_linear(spec.pattern) if spec.pattern else None)
    if tally.is_open:
        return (yield from _vote_by_similarity(task, preset, state, tally))
    return draft_as_answer(state.references[tally.first], {"vote": _answer_facts(state, tally)})


def _answer_facts(state: State, tally: Tally) -> dict[str, Any]:
    answers = {
        str(number): one_line(answer) if answer else None
        for number, answer in zip(state.numbers, tally.answers, strict=True)
    }
    votes = [{"answer": one_line(answer), "votes": votes} for answer, votes in tally.votes.items()]
    chosen = state.numbers[tally.first]
    return {"by": "answer", "chosen": chosen, "tie": tally.tied, "votes": votes, "answers": answers}


def _vote_by_similarity(task: Task, preset: Preset, state: State, tally: Tally) -> Conclusion:
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
