"""The aggregator writes the answer from the drafts (Aggregate-and-Synthesize), or from the drafts and a review."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar, Literal, TypeAlias

from moa_mcp.domain.errors import RunFailed
from moa_mcp.domain.fields import PromptStyle
from moa_mcp.domain.model import AGGREGATOR, Answer, Batch, Call, Draft, Message, Outcome, Task
from moa_mcp.domain.preset import Preset
from moa_mcp.domain.shortfalls import NONE, Shortfall
from moa_mcp.domain.stages import CONCLUDES, ConcludeSpec
from moa_mcp.domain.text import strip_invisible
from moa_mcp.flows import schedule
from moa_mcp.flows.calls import call_notes, make_call, reads_prefix_again
from moa_mcp.flows.candidates import LabelledCandidates
from moa_mcp.flows.compare.similarity import lexical_similarity
from moa_mcp.flows.conclude.take import first_complete
from moa_mcp.flows.state import Conclusion, State, has_weights
from moa_mcp.prompts.panel import can_be_repeated, messages_for, repeats_instructions

Prompt: TypeAlias = Callable[[str, PromptStyle], tuple[Message, ...]]
"""Makes the messages of a call to a model, in a style."""


class Synthesize(ConcludeSpec):
    """The aggregator writes the answer from the drafts, as in the paper."""

    by: Literal["synthesize"] = "synthesize"

    merges_layers: ClassVar[bool] = True
    shares_messages: ClassVar[bool] = True

    @property
    def details(self) -> str:
        """Empty: this way to conclude needs no details."""
        return ""


@CONCLUDES.register(Synthesize)
def synthesize(task: Task, preset: Preset, state: State, spec: Synthesize) -> Conclusion:
    """Let the aggregator write the answer from the references and the notes for their readers."""
    return (yield from synthesize_after(task, preset, state))


def synthesize_after(task: Task, preset: Preset, state: State, time: schedule.Window | None = None) -> Conclusion:
    """`synthesize` as one step of another way to conclude, in the window `time`."""
    prompt = aggregator_prompt(task, preset, state.texts, state.reader_notes)
    return (yield from write_answer(preset, prompt, partial(fallback_draft, state), time))


def aggregator_prompt(task: Task, preset: Preset, texts: Sequence[str], remarks: str | None) -> Prompt:
    """Return the prompt of the aggregator, or of another model in its place, for the drafts `texts`."""

    def prompt(model: str, style: PromptStyle) -> tuple[Message, ...]:
        return messages_for(task, texts, style, preset.aggregator.role, remarks, model=model)

    return prompt


@dataclass(frozen=True, slots=True)
class Review:
    """The judges' review of the candidates `shown`; `remarks` is None if there is nothing usable.

    `method` holds the facts of the review, `notes` are for the reader of the answer. `ranking` has the indices of the
    candidates, the best first, if the judges ranked them.
    """

    shown: LabelledCandidates
    remarks: str | None
    method: Mapping[str, Any]
    notes: tuple[str, ...] = ()
    ranking: tuple[int, ...] = ()


def answer_with_review(task: Task, preset: Preset, state: State, review: Review) -> Conclusion:
    """Let the aggregator write the answer from the drafts, in the judges' order, and the review.

    Without remarks, the aggregator uses only the drafts, and the answer is marked as degraded.
    """
    extra = "\n\n".join(part for part in (state.extra, review.remarks) if part)
    references = tuple(state.references[index] for index in review.shown.order)
    if review.remarks is not None:
        ranked = tuple(state.references[index] for index in review.ranking)
        state = replace(state, references=references, extra=extra, ranked=ranked)
    answer = yield from synthesize_after(task, preset, state, schedule.WRITING_AFTER_JUDGES)
    return replace(
        answer,
        shortfalls=answer.shortfalls | (frozenset({Shortfall.UNREAD_JUDGE}) if review.remarks is None else NONE),
        notes=(*review.notes, *answer.notes),
        method={**answer.method, **review.method},
    )


def write_answer(
    preset: Preset, prompt: Prompt, fallback: Callable[[], Draft | None], time: schedule.Window | None = None
) -> Conclusion:
    """Ask the aggregator, then its fallbacks; if all fail, answer with the draft of `fallback`.

    A model that repeats its instructions in place of an answer is asked once more, in the words of the paper; if it
    does so again, it has failed. A part of an answer is used only if no model could write a whole one. `time` is the
    part of the run's time for writing, by default all that is left after the drafts; the first model has most of it.

    Raises:
        RunFailed: no model could write an answer, and there is no draft.
    """
    aggregator = preset.aggregator
    call_id = f"{preset.layers}.1"
    causes: list[str] = []
    parts: list[Draft] = []
    models = (aggregator.model, *aggregator.fallbacks)
    time = time or schedule.conclusion(preset)
    for attempt, model in enumerate(models):
        call = make_call(
            aggregator.model_copy(update={"model": model}),
            prompt(model, preset.prompt_style),
            call_id if attempt == 0 else f"{call_id}.fallback{attempt}",
            AGGREGATOR,
            layer=preset.layers,
            cache_prefix=reads_prefix_again(preset, model),
        )
        until = time.attempt_end(attempt + 1, len(models))
        (outcome,) = yield Batch(preset.layers, (call,), until=until)
        causes.extend(call_notes((call,), (outcome,)))
        if _is_echo(call, outcome):
            causes.append(f"{model} repeated its instructions in place of an answer")
            if (plainest := prompt(model, "paper")) != call.messages:
                causes.append(f"{model} was asked once more, in the words of the paper")
                call = replace(call, id=f"{call.id}.again", repeat_of=call.id, messages=plainest)
                (outcome,) = yield Batch(preset.layers, (call,), until=until)
                causes.extend(call_notes((call,), (outcome,)))
        if not isinstance(outcome, Draft) or _is_echo(call, outcome):
            continue
        # A fallback has the same max_tokens, so it would run out of tokens, too.
        if not outcome.unfinished or outcome.finish_reason == "length":
            return Answer(outcome.text, outcome.shortfalls_as_answer, tuple(causes))
        parts.append(outcome)
    if parts:
        notes = (*causes, "the answer is incomplete: no model finished one")
        part = max(parts, key=lambda one: len(strip_invisible(one.text)))
        return Answer(part.text, part.shortfalls_as_answer, notes)
    best = fallback()
    if best is None:
        raise RunFailed("No model could write the answer:", causes)
    shortfalls = best.shortfalls_as_answer | {Shortfall.FALLBACK}
    return Answer(best.text, shortfalls, (*causes, "the answer is the best single draft"))


def _is_echo(call: Call, outcome: Outcome) -> bool:
    return isinstance(outcome, Draft) and can_be_repeated(call.messages) and repeats_instructions(outcome.text)


def fallback_draft(state: State) -> Draft | None:
    """The draft that is the answer if no model can write one: None if there is none.

    It is the first complete one in the order of a judge's ranks or a gate's weights; without these, the one that is
    most like the others.
    """
    if state.fallback_answer is not None:
        return state.fallback_answer
    ranked = state.ranked
    if has_weights([one.participant for one in state.references]):
        ranked = ranked or tuple(sorted(state.references, key=lambda one: -(one.participant.weight or 0.0)))
    return first_complete(ranked).draft if ranked else most_alike([one.draft for one in state.references])


def most_alike(drafts: Sequence[Draft]) -> Draft | None:
    """The draft whose words are most like those of the others: a complete one if there is one; of equals, the first."""
    if not drafts:
        return None
    matrix = lexical_similarity([strip_invisible(draft.text) for draft in drafts])
    likeness = [(not draft.unfinished, round(sum(row), 9)) for draft, row in zip(drafts, matrix, strict=True)]
    return drafts[likeness.index(max(likeness))]
