"""Tree search over whole answers: each answer refines another, and a judge's values guide the search.

Each simulation goes down from the root, by upper confidence bounds, to a node that has room for a child. The answer is
the node with the highest value, not the most visited one, so that the judge counts even with few simulations.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal

from pydantic import Field

from moa_mcp.domain.errors import Reason, RunFailed
from moa_mcp.domain.fields import ModelSettings, ModelSettingsOrId
from moa_mcp.domain.model import Answer, Batch, ChatCall, Draft, DryRunReplies, Failure, Flow, Message, Outcome, Task
from moa_mcp.domain.shortfalls import Shortfall
from moa_mcp.domain.stages import SLOT_METHODS, SlotMethod
from moa_mcp.flows import schedule
from moa_mcp.flows.calls import call_notes, make_call
from moa_mcp.flows.candidates import label_candidates
from moa_mcp.flows.compare.scoring import MAX_SCORE, read_score, read_score_loosely
from moa_mcp.flows.state import SOURCE, State
from moa_mcp.flows.structured_reply import Form, FormReply, ask_form, json_object, reason_of, repeat
from moa_mcp.prompts import judge as judge_prompts
from moa_mcp.prompts import solver as solver_prompts

UNREAD = 0.5
"""The value, in the search, of an answer whose judgement cannot be read. It is the result only if all are unread."""

OUT_OF_TIME = "its time was up"

GOOD_ENOUGH = 0.95
"""Two answers of at least this value end the search."""


class TreeSearch(SlotMethod):
    """Answers are refined along a tree that a judge's values guide; the draft is the answer with the best value."""

    method: Literal["tree-search"]
    simulations: Annotated[int, Field(ge=1, le=32)] = Field(
        default=6, description="How often an answer is refined and valued: two calls each time, after one first answer."
    )
    width: Annotated[int, Field(ge=1, le=8)] = Field(default=2, description="The most refinements of one answer.")
    depth: Annotated[int, Field(ge=1, le=8)] = Field(default=3, description="The most refinements one after the other.")
    exploration: Annotated[float, Field(ge=0, le=10)] = Field(
        default=1.0, description="How much rarely refined answers are preferred: 0 follows the best value alone."
    )
    judge: ModelSettingsOrId | None = Field(
        default=None, description="The model that gives the values. Unset: the model itself."
    )


@dataclass(slots=True, eq=False)
class _Node:
    """An answer in the tree, the judge's value (None: not read) and the totals of the search below it."""

    answer: Draft
    depth: int
    value: float | None
    remarks: str
    above: _Node | None = None
    below: list[_Node] = field(default_factory=list["_Node"])
    visits: int = 0
    total: float = 0.0

    def credit(self) -> None:
        """Add the value of this node to all nodes up to the root."""
        worth = UNREAD if self.value is None else self.value
        node: _Node | None = self
        while node is not None:
            node.visits += 1
            node.total += worth
            node = node.above


@dataclass(slots=True)
class _Search:
    """One search: its nodes in order of creation, the root first, and why it ended early. `lost` refinements failed."""

    task: Task
    spec: TreeSearch
    messages: tuple[Message, ...]
    nodes: list[_Node] = field(default_factory=list[_Node])
    notes: list[str] = field(default_factory=list[str])
    ended: str | None = None
    lost: int = 0

    @property
    def simulations(self) -> int:
        """How many simulations have added an answer."""
        return max(0, len(self.nodes) - 1)

    def room(self, node: _Node) -> bool:
        """Whether the tree has room for a new answer below `node`."""
        if node.depth >= self.spec.depth:
            return False
        return len(node.below) < self.spec.width or any(map(self.room, node.below))

    def select_node(self) -> _Node:
        """The node to refine next: go down from the root, by upper confidence bounds, to a node with room."""
        node = self.nodes[0]
        while len(node.below) >= self.spec.width:
            node = max(filter(self.room, node.below), key=self._bound)
        return node

    def _bound(self, node: _Node) -> float:
        trials = node.above.visits if node.above else node.visits
        return node.total / node.visits + self.spec.exploration * math.sqrt(math.log(trials) / node.visits)

    def best(self) -> _Node:
        """The node with the highest value that was read; among equals the most visited, then the earliest."""
        return max(self.nodes, key=lambda node: (-1 if node.value is None else node.value, node.visits))

    @property
    def good_answers(self) -> int:
        return sum(node.value is not None and node.value >= GOOD_ENOUGH for node in self.nodes)

    def facts(self) -> dict[str, Any]:
        """The facts of the search; answers are given by number, with 0 for the root."""
        parents = [None if node.above is None else self.nodes.index(node.above) for node in self.nodes]
        return {
            "values": [node.value for node in self.nodes],
            "refined_from": parents,
            "chosen": self.nodes.index(self.best()),
            "unread": sum(node.value is None for node in self.nodes),
            "ended": self.ended or "all simulations were made",
            SOURCE: f"the best of {len(self.nodes)} replies of a search",
        }


_Step = Generator[Batch, Sequence[Outcome], None]


@SLOT_METHODS.register(TreeSearch)
def tree_search(task: Task, state: State, spec: TreeSearch) -> Flow:
    """Write a first reply, refine and judge replies along the tree, and answer with the one of the highest value.

    Raises:
        RunFailed: the call for the first reply failed.
    """
    messages = solver_prompts.proposer_messages(task, spec, state.texts, state.reader_notes)
    search = _Search(task, spec, messages)
    root = make_call(spec, messages, "root", "searcher", layer=1)
    (outcome,) = yield Batch(1, (root,), until=schedule.SLOT_END)
    if not isinstance(outcome, Draft):
        raise RunFailed("The tree search has no first reply:", call_notes((root,), (outcome,)))
    yield from _add_node(search, outcome, None)
    for number in range(1, spec.simulations + 1):
        if search.ended is None and search.good_answers >= 2:
            search.ended = "two replies were good enough"
        if search.ended is None and not search.room(search.nodes[0]):
            search.ended = "the tree is full"
        if search.ended is not None:
            break
        yield from _simulate(search, number)
    return _best_answer(search)


def _simulate(search: _Search, number: int) -> _Step:
    parent = search.select_node()
    messages = solver_prompts.refine(search.task, search.messages, parent.answer.text, parent.remarks)
    call = make_call(search.spec, messages, f"refine.{number}", "refiner", layer=1)
    outcome = yield from _ask_reviser(call)
    revised = solver_prompts.revised_reply(outcome.text) if isinstance(outcome, Draft) else None
    if isinstance(outcome, Draft) and revised:
        written = Draft(revised, outcome.served_model, outcome.finish_reason, cut=outcome.cut)
        yield from _add_node(search, written, parent)
        return
    search.notes.extend(call_notes((call,), (outcome,)))
    search.lost += 1
    if isinstance(outcome, Draft):
        search.notes.append(f"refinement {number} of the search has no new reply and was left out")
    elif isinstance(outcome, Failure) and outcome.reason is Reason.DEADLINE:
        search.ended = OUT_OF_TIME


def _ask_reviser(call: ChatCall) -> Generator[Batch, Sequence[Outcome], Outcome]:
    """Make the call, and once more if its whole text lacks the line before the new reply."""
    batch = Batch(1, (call,), until=schedule.SLOT_END, dry_run_replies=_REVISED)
    (outcome,) = yield batch
    if isinstance(outcome, Draft) and not outcome.unfinished and solver_prompts.revised_reply(outcome.text) is None:
        (outcome,) = yield replace(batch, calls=(repeat(call, outcome),))
    return outcome


def _add_node(search: _Search, answer: Draft, parent: _Node | None) -> _Step:
    """Judge an answer and add it to the tree below `parent`."""
    reply = yield from _judge_answer(search, answer.text)
    value, why = reply.value or (None, "")
    if reply.value is None:
        search.notes.append(f"reply {len(search.nodes)} of the search has no value: {reply.outcome}")
    node = _Node(answer, 0 if parent is None else parent.depth + 1, value, why, parent)
    search.nodes.append(node)
    if parent is not None:
        parent.below.append(node)
    node.credit()


def _judge_answer(search: _Search, text: str) -> Generator[Batch, Sequence[Outcome], FormReply[tuple[float, str]]]:
    messages = judge_prompts.rate(search.task, label_candidates(search.task, "tree-search", [text]).render())
    identity = f"judge.{len(search.nodes)}"
    call = make_call(_judge_settings(search.spec), messages, identity, "judge", layer=1)
    return (yield from ask_form(call, _FORM, until=schedule.SLOT_END))


def _judge_settings(spec: TreeSearch) -> ModelSettings:
    """The settings of the judge: `spec.judge`, else the model itself; temperature 0 unless the judge sets one."""
    judge = spec.judge or ModelSettings(
        model=spec.model,
        effort=spec.effort,
        timeout_seconds=spec.timeout_seconds,
        thinking=spec.thinking,
        extra_body=spec.extra_body,
    )
    return judge if judge.temperature is not None else judge.model_copy(update={"temperature": 0.0})


def _read_judgement(text: str) -> tuple[float, str] | None:
    score = read_score(text)
    return None if score is None else (score / MAX_SCORE, reason_of(json_object(text, "score") or {}))


def _read_judgement_loosely(text: str) -> tuple[float, str] | None:
    score = read_score_loosely(text)
    return None if score is None else (score / MAX_SCORE, "")


def _best_answer(search: _Search) -> Answer:
    best = search.best()
    failures: list[str] = []
    if search.ended == OUT_OF_TIME:
        failures.append(f"the search made {search.simulations} of {search.spec.simulations} refinements: {OUT_OF_TIME}")
    shortfalls = best.answer.shortfalls_as_answer
    if best.value is None:
        failures.append("no judgement could be read; the first reply is the answer")
        shortfalls |= {Shortfall.UNREAD_JUDGE}
    if search.lost or search.ended == OUT_OF_TIME:
        shortfalls |= {Shortfall.UNFINISHED}
    return Answer(best.answer.text, shortfalls, (*search.notes, *failures), {"tree_search": search.facts()})


_REVISED = DryRunReplies(*(f"{solver_prompts.REVISED}\n{text}" for text in ("word " * 560, "other " * 466)))
"""A dry run's replies of the length of a draft."""

_FORM = Form(
    _read_judgement, _read_judgement_loosely, DryRunReplies('{"reason": "", "score": 10}', '{"reason": "", "score": 5}')
)
