"""What a real model makes of the prompts: right answers, traces of the prompt, and judges' replies in form.

A small model drafts three replies to each of 16 questions with known answers, and writes four answers from them per
`prompt_style`. A *trace* is a marker, the run's code, or talk of "the drafts" or "response 2" in an answer, as the
model wrote it; readers do not see markers and codes, because `MarkerRemoval` takes them out. A proposer of a later
layer gets the same prompt as the aggregator. For judges, `first_try` is the share of replies that could be read at
once, with and without JSON mode. Prints one line of JSON. Takes a quarter of an hour or more.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import click

from benchmarks.small_model import SmallModel, in_slots, small_model
from moa_mcp.domain.fields import PromptStyle
from moa_mcp.domain.model import AGGREGATOR, PROPOSER, Call, ChatCall, Message, Task
from moa_mcp.domain.preset import Preset
from moa_mcp.domain.sampling import FrozenDict, Sampling
from moa_mcp.flows.panel import ask_panel
from moa_mcp.prompts.panel import messages_for
from moa_mcp.testing.playing import drive

QUESTIONS = {
    "What is the capital of France?": "paris",
    "What is the capital of Japan?": "tokyo",
    "What is 7 plus 5?": r"\b12\b|twelve",
    "How many days are there in a week?": r"\b7\b|seven",
    "Which planet is known as the Red Planet?": "mars",
    "What is the largest ocean on Earth?": "pacific",
    "Who wrote the play Romeo and Juliet?": "shakespeare",
    "What gas do plants take in from the air for photosynthesis?": "carbon dioxide|co2|co₂",
    "At what temperature in degrees Celsius does water boil at sea level?": r"\b100\b",
    "What is the opposite of hot?": r"\bcold\b|\bcool",
    "How many legs does a spider have?": r"\b8\b|eight",
    "What is the chemical formula of water?": "h2o|h₂o|h_2o",
    "Which animal is the largest on Earth?": "blue whale",
    "What colour do you get when you mix blue and yellow paint?": "green",
    "How many minutes are there in one hour?": r"\b60\b|sixty",
    "Which is the longest river in Africa?": r"\bnile\b",
}
"""The questions, each with a pattern that a right answer has, in lower case."""

STYLES: tuple[PromptStyle, ...] = ("fenced", "tagged", "paper")
TRIALS = 4
PROPOSERS = 3
SEED = 0x08D3F1A2B4C59E67

TRACE = re.compile(
    rf"{SEED:016x}"[:6] + r"|<<|>>|</?(?:response|draft)|\bdrafts?\b|\bresponses? \d"
    r"|\b(?:the|these|provided|given) responses\b|\bresponses from",
    re.IGNORECASE,
)
MARKER = re.compile(rf"{SEED:016x}"[:6] + r"|<<|>>|</?(?:candidate|reply|message)", re.IGNORECASE)

METHODS: Mapping[str, Mapping[str, Any]] = {
    "select": {"conclude": {"by": "select"}},
    "rate": {"conclude": {"by": "rate"}},
    "pairs": {"conclude": {"by": "pairs"}},
    "council": {"conclude": {"by": "council"}},
    "analysis": {"conclude": {"by": "analysis"}},
    "critique": {"conclude": {"by": "critique"}},
    "moderator": {"screen": {"by": "judge", "keep": 2}},
    "gate": {"route": {"by": "gate", "model": "small/model"}},
    "difficulty": {"route": {"by": "difficulty", "easy": "small/model", "model": "small/model"}},
    "residual": {"layers": 3, "residual": {}},
}
"""The methods that ask a judge, as keys of a preset."""

IN_WORDS = ("critique", "residual")
"""The methods whose judges reply in words, not in JSON."""


def call_to(messages: Sequence[Message], max_tokens: int) -> ChatCall:
    return ChatCall("1.1", PROPOSER, 1, 1, "small/model", tuple(messages), temperature=0.7, max_tokens=max_tokens)


def drafts(model: SmallModel) -> dict[str, list[str]]:
    """Three drafts for each question."""
    jobs = [(question, seed) for question in QUESTIONS for seed in range(PROPOSERS)]
    texts = in_slots(lambda job, slot: model.ask(call_to([Message("user", job[0])], 160), job[1], slot), jobs)
    return {question: texts[at * PROPOSERS : (at + 1) * PROPOSERS] for at, question in enumerate(QUESTIONS)}


def merged(model: SmallModel, style: PromptStyle | None, known: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """The right answers and the traces of one style; without a style, of the model alone."""
    jobs = [(question, seed) for question in QUESTIONS for seed in range(100, 100 + TRIALS)]

    def answer(job: tuple[str, int], slot: int) -> str:
        question, seed = job
        messages = messages_for(Task(question, seed=SEED), known[question] if style else (), style or "paper")
        return model.ask(call_to(messages, 100), seed, slot)

    texts = in_slots(answer, jobs)
    right = sum(bool(re.search(QUESTIONS[job[0]], text.lower())) for job, text in zip(jobs, texts, strict=True))
    return {"answers": len(texts), "right": right, "traces": sum(bool(TRACE.search(text)) for text in texts)}


def judged(
    model: SmallModel, method: str, known: Mapping[str, Sequence[str]], count: int, *, json_mode: bool
) -> dict[str, float]:
    """The share of replies of a method's judges that could be read at the first try, over `count` questions; traces."""
    keys = {"proposers": ["small/model"] * PROPOSERS, "layers": 2, "aggregator": "small/model", **METHODS[method]}
    preset = Preset.model_validate(keys)
    questions = list(QUESTIONS)[:: len(QUESTIONS) // count][:count]
    texts: list[str] = []

    def play(question: str, slot: int) -> tuple[Call, ...]:
        def reply(call: Call) -> str:
            if call.role in (PROPOSER, AGGREGATOR, "merger"):
                return known[question][call.slot - 1]
            assert isinstance(call, ChatCall)
            sampling = Sampling(response_format=FrozenDict({"type": "json_object"})) if json_mode else None
            text = model.ask(replace(call, temperature=0.0, max_tokens=120, sampling=sampling), 1, slot)
            texts.append(text)
            return text

        return drive(ask_panel(Task(question, seed=SEED), preset), reply).calls

    calls = [call for played in in_slots(play, questions) for call in played]
    asked = [call for call in calls if call.role not in (PROPOSER, AGGREGATOR, "merger") and not call.is_repeat]
    repeats = sum(call.is_repeat for call in calls)
    return {
        "judged": len(asked),
        "first_try": round(1 - repeats / max(1, len(asked)), 2),
        "traces": sum(bool(MARKER.search(text)) for text in texts),
    }


@click.command(help=__doc__)
@click.option("--packages", type=click.Path(exists=True, file_okay=False), help="Folder with the model's packages.")
@click.option("--only", type=click.Choice(["styles", "judges"]), help="Measure only these.")
@click.option("--method", "methods", type=click.Choice(list(METHODS)), multiple=True, help="Judges of these alone.")
@click.option("--questions", type=click.IntRange(1, len(QUESTIONS)), default=5, help="Questions for each method. [5]")
def main(packages: str | None, only: str | None, methods: Sequence[str], questions: int) -> None:
    """Measure the styles and the judges."""
    figures: dict[str, dict[str, Any]] = {}

    def note(part: str, name: str, found: Mapping[str, float]) -> None:
        figures.setdefault(part, {})[name] = found
        click.echo(f"{part}, {name}: {found}", err=True)

    with small_model(packages) as model:
        known = drafts(model)
        for style in (*STYLES, None) if only != "judges" else ():
            note("styles", style or "alone", merged(model, style, known))
        for part, json_mode in {"judges": False, "judges_in_json_mode": True}.items() if only != "styles" else ():
            for method in methods or METHODS:
                if not json_mode or method not in IN_WORDS:
                    note(part, method, judged(model, method, known, questions, json_mode=json_mode))
    click.echo(json.dumps(figures))


if __name__ == "__main__":
    main()
