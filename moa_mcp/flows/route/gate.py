"""Choose the proposers for each question, with an instruction for each and a weight for its draft.

This is an analogue of dynamic mixtures of experts (DMoE), not DMoE itself, which is a trained network whose gate mixes
layers of numbers. Here a gate gives each slot a probability, and asks the fewest slots that together reach a share.
`replace_duplicates.py` handles near-copies among their drafts.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from moa_mcp.domain.fields import Count, ModelSettingsOrId, Share, constraint_error
from moa_mcp.domain.model import Batch, DryRunReplies, Outcome, Task
from moa_mcp.domain.preset import PanelSlot, Preset
from moa_mcp.domain.shortfalls import Shortfall
from moa_mcp.domain.stages import ROUTES, SLOT_METHODS, RouteSpec, SlotMethod
from moa_mcp.domain.text import one_line
from moa_mcp.flows import schedule
from moa_mcp.flows.candidates import LabelledCandidates, label_candidates
from moa_mcp.flows.state import Participant, Stage, State
from moa_mcp.flows.structured_reply import Form, FormReply, ask_form, is_list, is_object, json_object, judge_call
from moa_mcp.prompts.panel import user_turn
from moa_mcp.prompts.router import gate as gate_prompt

MAX_SCORE = 10.0

PER_SKILL = 3.0
"""The score of a slot for each of its skills that the question mentions."""

MAX_INSTRUCTION_CHARS = 600
ANALOGUE = "an analogue of DMoE at the level of whole models, not DMoE, which is a trained network"


class Gate(RouteSpec):
    """The question chooses the proposers: the fewest that together reach a share of the weight (after DMoE)."""

    by: Literal["gate"]
    model: ModelSettingsOrId | None = Field(
        default=None,
        description="The model that scores the slots for the question and writes each its instruction. "
        "Unset: no call; the words of the question are compared with the slots' skills.",
    )
    share: Share = Field(
        default=0.8, description="The share of the weight, from 0 to 1, that the chosen slots reach together."
    )
    at_least: Count = Field(default=1, description="The fewest slots that are chosen.")
    at_most: Count | None = Field(default=None, description="The most slots that are chosen. Unset: all.")
    sharpness: Annotated[float, Field(gt=0, le=10)] = Field(
        default=1.0, description="How strongly higher scores are preferred: above 1 more strongly, below 1 less."
    )
    near_copy: Share = Field(
        default=0.98,
        description="Of two drafts at least this alike, from 0 to 1, one is replaced by the next slot in line.",
    )

    chooses_slots: ClassVar[bool] = True
    share_of_time: ClassVar[float | None] = schedule.GATE_END

    @property
    def copy_similarity(self) -> float | None:
        return self.near_copy

    @property
    def reads_question(self) -> bool:
        return self.model is None

    def problems(self, preset: Preset) -> Iterator[PydanticCustomError]:
        """A gate needs a layer of proposers, with at least as many slots as it may choose."""
        if preset.layers == 1:
            yield constraint_error("route by gate chooses among proposers", "layers to be 2 or more", "route")
        most = max(self.at_least, self.at_most or 1)
        if most > len(preset.slots):
            key = "at_least" if self.at_least > len(preset.slots) else "at_most"
            problem = f"the gate chooses {most}, but {preset.slots_in_words}"
            yield constraint_error(problem, f"at most {len(preset.slots)}", "route", key)

    @model_validator(mode="after")
    def _check_constraints(self) -> Self:
        if self.at_most is not None and self.at_most < self.at_least:
            problem = f"at_most is {self.at_most}, below at_least, which is {self.at_least}"
            raise constraint_error(problem, f"at least {self.at_least}", "at_most")
        return self


@dataclass(frozen=True, slots=True)
class Scores:
    """For each slot, in order: a score from 0 to 10, and an instruction, which may be empty."""

    scores: tuple[float, ...]
    instructions: tuple[str, ...]


@ROUTES.register(Gate)
def gate(task: Task, preset: Preset, state: State, spec: Gate) -> Stage:
    """Choose the participants for the question, the heaviest first; slots that may still be asked become the reserve.

    If the gate gives no usable reply, all slots take part, as without a gate.
    """
    scored = yield from _ask_gate(task, preset, state, spec)
    facts: dict[str, Any] = {"by": "gate", "is": ANALOGUE, "how": scored.outcome}
    if scored.value is None:
        all_slots = state.with_facts(route={**facts, "chosen": [one.number for one in state.participants]})
        if spec.model is not None:
            all_slots = all_slots.with_shortfalls(Shortfall.UNREAD_JUDGE)
        return all_slots.with_notes(f"the gate chose no slot ({scored.outcome}): all slots take part")
    return _select_participants(state, spec, scored.value, facts)


def probabilities(scores: Sequence[float], sharpness: float) -> list[float]:
    """Softmax: positive numbers that add up to 1; a higher `sharpness` makes them more unequal."""
    highest = max(scores)
    powers = [math.exp(sharpness * (score - highest)) for score in scores]
    return [power / sum(powers) for power in powers]


def count_to_share(shares: Sequence[float], spec: Gate) -> int:
    """How many of `shares`, in descending order, reach `spec.share` together, within the gate's limits."""
    reached = 0.0
    count = 0
    while count < len(shares) and reached < spec.share - 1e-9:
        reached += shares[count]
        count += 1
    return min(max(count, spec.at_least), _max_participants(spec, len(shares)))


def _select_participants(state: State, spec: Gate, scored: Scores, facts: Mapping[str, Any]) -> State:
    weights = probabilities(scored.scores, spec.sharpness)
    order = sorted(range(len(weights)), key=lambda index: (-weights[index], index))
    ranked = [
        replace(state.participants[index].with_instruction(scored.instructions[index]), weight=weights[index])
        for index in order
    ]
    count = count_to_share([weights[index] for index in order], spec)
    chosen, reserve = ranked[:count], ranked[count : _max_participants(spec, len(ranked))]
    facts = {
        **facts,
        "chosen": [one.number for one in chosen],
        "waiting": [one.number for one in reserve],
        "weights": {str(one.number): round(one.weight or 0.0, 4) for one in ranked},
        "instructions": {str(one.number): one_line(one.instruction) for one in chosen if one.instruction},
    }
    return replace(state, participants=tuple(chosen), reserve=tuple(reserve)).with_facts(route=facts)


def _max_participants(spec: Gate, slots: int) -> int:
    return min(spec.at_most or slots, slots)


def _ask_gate(
    task: Task, preset: Preset, state: State, spec: Gate
) -> Generator[Batch, Sequence[Outcome], FormReply[Scores]]:
    if spec.model is None:
        return _score_by_skills(task, state)
    shown = label_candidates(task, "gate", [_description(participant) for participant in state.participants])
    call = judge_call(preset, spec.model, gate_prompt(task, shown.render()), "router", layer=1)
    form = Form(partial(_read, shown), dry_run=_dry_run_replies(shown))
    return (yield from ask_form(call, form, until=schedule.GATE_END))


def _score_by_skills(task: Task, state: State) -> FormReply[Scores]:
    question_words = _words(user_turn(task))
    matches = [sum(_mentions(question_words, skill) for skill in one.slot.skills) for one in state.participants]
    if not any(matches):
        return FormReply(None, "no slot has a skill that the question speaks of")
    scores = tuple(min(MAX_SCORE, PER_SKILL * count) for count in matches)
    return FormReply(Scores(scores, ("",) * len(scores)), "by skills")


def _words(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"\w+", text.casefold()))


def _mentions(question_words: frozenset[str], skill: str) -> bool:
    """Whether the question has all words of a skill, apart from endings: "proofs" matches "a proof"."""
    words = _words(skill)
    return bool(words) and all(any(_same_stem(word, other) for other in question_words) for word in words)


def _same_stem(word: str, other: str) -> bool:
    short, long = sorted((word, other), key=len)
    return word == other or (len(short) > 3 and len(long) - len(short) < 4 and long.startswith(short))


def _description(participant: Participant) -> str:
    """The description of a slot in the gate's prompt: its model, method, role and skills."""
    slot = participant.slot
    if isinstance(slot, PanelSlot):
        return f"model: the panel {slot.preset}"
    method = SLOT_METHODS.name(slot) if isinstance(slot, SlotMethod) else ""
    fields = {
        "model": slot.model,
        "method": method,
        "role": one_line(slot.role or ""),
        "skills": ", ".join(slot.skills),
    }
    return "\n".join(f"{key}: {value}" for key, value in fields.items() if value)


def _read(shown: LabelledCandidates, text: str) -> Scores | None:
    """Read the scores: a letter without one gets 0; None if there is no score, or one for an unknown letter."""
    reply = json_object(text, "slots")
    entries = _entries(reply["slots"]) if reply else {}
    scores, instructions = [0.0] * len(shown.order), [""] * len(shown.order)
    for label, value in entries.items():
        index, score = shown.index(label), _score(value.get("score"))
        if index is None or score is None:
            return None
        scores[index] = score
        instructions[index] = one_line(str(value.get("instruction") or ""), MAX_INSTRUCTION_CHARS)
    return Scores(tuple(scores), tuple(instructions)) if entries else None


def _entries(value: Any) -> dict[str, dict[str, Any]]:
    """The entry for each letter, from any of the forms {"A": {…}}, {"A": 7} and [{"slot": "A", …}]."""
    if is_list(value):
        listed = [one for one in value if is_object(one)]
        return {str(one.get("slot") or one.get("letter") or ""): one for one in listed}
    if not is_object(value):
        return {}
    return {str(label): one if is_object(one) else {"score": one} for label, one in value.items()}


def _score(value: Any) -> float | None:
    """A score, limited to 0 to 10; None for a boolean or any other value that is not a number."""
    found = re.fullmatch(r"(-?\d{1,9}(?:\.\d{1,20})?)(?:\s?/\s?10)?", str(value).strip())
    return min(MAX_SCORE, max(0.0, float(found[1]))) if found else None


def _dry_run_replies(shown: LabelledCandidates) -> DryRunReplies:
    """The two extreme replies: all weight on the first slot, and equal weights for all."""
    sure = {label: {"score": 0 if index else MAX_SCORE} for label, index in shown.mapping.items()}
    equal = {label: {"score": 5} for label in shown.letters}
    return DryRunReplies(least=json.dumps({"slots": sure}), most=json.dumps({"slots": equal}))
