"""The question chooses its proposers, what each is told, and what weight its draft has.

An analogue of dynamic mixtures of experts (DMoE), not DMoE itself: that is a trained network whose gate mixes
layers of numbers. Here a gate gives each slot a probability, and the shortest prefix of slots that reaches a
share is asked; near-copies among their drafts are seen to in `replace_duplicates.py`.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from moa_mcp.domain.model import Batch, Likely, Outcome, Task
from moa_mcp.domain.preset import Preset
from moa_mcp.domain.stages import Gate
from moa_mcp.domain.text import one_line
from moa_mcp.flows.candidates import Ballot, ballot
from moa_mcp.flows.state import Seat, Stage, State
from moa_mcp.flows.structured_reply import Asked, ask, is_list, is_object, json_object, judge_call
from moa_mcp.prompts.router import gate as told

GATES_SHARE = 0.15
"""How much of a run's time the gate may take."""

HIGHEST = 10.0

PER_SKILL = 3.0
"""What a slot scores for each of its skills that the question speaks of."""

LONGEST_INSTRUCTION = 600
ANALOGUE = "an analogue of DMoE at the level of whole models, not DMoE, which is a trained network"


@dataclass(frozen=True, slots=True)
class Scores:
    """What a gate gives each slot, in their order: a score from 0 to 10, and an instruction or nothing."""

    scores: tuple[float, ...]
    instructions: tuple[str, ...]


def gate(task: Task, preset: Preset, state: State, spec: Gate) -> Stage:
    """Seat the slots that the question chooses, the heaviest first; the others that may be woken wait in line.

    If the gate says nothing usable, all slots take part, as without a gate.
    """
    scored = yield from _scored(task, preset, state, spec)
    facts: dict[str, Any] = {"by": "gate", "is": ANALOGUE, "how": scored.how}
    if scored.value is None:
        everyone = state.telling(route={**facts, "chosen": [seat.number for seat in state.seats]})
        return everyone.noting(f"the gate chose nobody ({scored.how}): all slots take part")
    return _seated(state, spec, scored.value, facts)


def probabilities(scores: Sequence[float], sharpness: float) -> list[float]:
    """Softmax: positive numbers that add up to 1, the more unequal the higher `sharpness`."""
    highest = max(scores)
    powers = [math.exp(sharpness * (score - highest)) for score in scores]
    return [power / sum(powers) for power in powers]


def prefix(shares: Sequence[float], spec: Gate) -> int:
    """How many of `shares`, which fall, it takes to reach `spec.share`, within what the gate allows."""
    reached = 0.0
    count = 0
    while count < len(shares) and reached < spec.share - 1e-9:
        reached += shares[count]
        count += 1
    return min(max(count, spec.at_least), _most(spec, len(shares)))


def _seated(state: State, spec: Gate, scored: Scores, facts: Mapping[str, Any]) -> State:
    weights = probabilities(scored.scores, spec.sharpness)
    order = sorted(range(len(weights)), key=lambda index: (-weights[index], index))
    line = [_told(state.seats[index], scored.instructions[index], weights[index]) for index in order]
    count = prefix([weights[index] for index in order], spec)
    chosen, waiting = line[:count], line[count : _most(spec, len(line))]
    by_slot = {str(seat.number): one_line(seat.instruction) for seat in chosen if seat.instruction}
    facts = {
        **facts,
        "chosen": [seat.number for seat in chosen],
        "waiting": [seat.number for seat in waiting],
        "weights": {str(seat.number): round(seat.weight or 0.0, 4) for seat in line},
        "instructions": by_slot,
    }
    return replace(state, seats=tuple(chosen), waiting=tuple(waiting)).telling(route=facts)


def _told(seat: Seat, instruction: str, weight: float) -> Seat:
    return replace(seat.told(instruction), weight=weight)


def _most(spec: Gate, slots: int) -> int:
    return min(spec.at_most or slots, slots)


def _scored(task: Task, preset: Preset, state: State, spec: Gate) -> Generator[Batch, Sequence[Outcome], Asked[Scores]]:
    if spec.model is None:
        return _by_skills(task, state)
    shown = ballot(task, "gate", [_description(seat) for seat in state.seats])
    call = judge_call(preset, spec.model, told(task, shown.shown()), "router", layer=1, likely=_likely(shown))
    return (yield from ask(call, lambda text: _read(shown, text), until=GATES_SHARE))


def _by_skills(task: Task, state: State) -> Asked[Scores]:
    spoken = _words(task.question)
    fitting = [sum(_speaks_of(spoken, skill) for skill in _skills(seat)) for seat in state.seats]
    if not any(fitting):
        return Asked(None, "no slot has a skill that the question speaks of")
    scores = tuple(min(HIGHEST, PER_SKILL * count) for count in fitting)
    return Asked(Scores(scores, ("",) * len(scores)), "by skills")


def _words(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"\w+", text.casefold()))


def _speaks_of(spoken: frozenset[str], skill: str) -> bool:
    """Whether all words of a skill are among the spoken ones, endings aside: "proofs" is in "a proof"."""
    words = _words(skill)
    return bool(words) and all(any(_alike(word, other) for other in spoken) for word in words)


def _alike(word: str, other: str) -> bool:
    short, long = sorted((word, other), key=len)
    return word == other or (len(short) > 3 and len(long) - len(short) < 4 and long.startswith(short))


def _skills(seat: Seat) -> tuple[str, ...]:
    return getattr(seat.slot, "skills", ())


def _description(seat: Seat) -> str:
    """What a gate is told of a slot: its model, and what the preset says it is for."""
    slot = seat.slot
    name = getattr(slot, "model", None) or f"the panel {getattr(slot, 'preset', '')}"
    role = one_line(getattr(slot, "role", None) or "")
    method = getattr(slot, "method", "")
    parts = (f"model: {name}", method and f"method: {method}", role and f"role: {role}")
    skills = ", ".join(_skills(seat))
    return "\n".join(part for part in (*parts, skills and f"skills: {skills}") if part)


def _read(shown: Ballot, text: str) -> Scores | None:
    """Letters that are not scored have 0; a reply that scores none, or something unknown, is none."""
    reply = json_object(text, "slots")
    entries = _entries(reply["slots"]) if reply else {}
    scores, instructions = [0.0] * len(shown.order), [""] * len(shown.order)
    for label, said in entries.items():
        index, score = shown.index(label), _score(said.get("score"))
        if index is None or score is None:
            return None
        scores[index] = score
        instructions[index] = one_line(str(said.get("instruction") or ""), LONGEST_INSTRUCTION)
    return Scores(tuple(scores), tuple(instructions)) if entries else None


def _entries(said: Any) -> dict[str, dict[str, Any]]:
    """What is said of each letter, whether as {"A": {…}}, {"A": 7} or [{"slot": "A", …}]."""
    if is_list(said):
        listed = [one for one in said if is_object(one)]
        return {str(one.get("slot") or one.get("letter") or ""): one for one in listed}
    if not is_object(said):
        return {}
    return {str(label): one if is_object(one) else {"score": one} for label, one in said.items()}


def _score(said: Any) -> float | None:
    """A score within its bounds; a truth value or what is no number is none."""
    found = re.fullmatch(r"(-?\d{1,9}(?:\.\d{1,20})?)(?:\s?/\s?10)?", str(said).strip())
    return min(HIGHEST, max(0.0, float(found[1]))) if found else None


def _likely(shown: Ballot) -> Likely:
    """Of two gates, the one that is sure of the first slot, and the one that makes no difference."""
    sure = {label: {"score": 0 if index else HIGHEST} for label, index in shown.mapping.items()}
    alike = {label: {"score": 5} for label in shown.letters}
    return Likely(least=json.dumps({"slots": sure}), most=json.dumps({"slots": alike}))
