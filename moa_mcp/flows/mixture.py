"""Mixture-of-Agents (Wang et al. 2024, arXiv 2406.04692): the paper on one screen.

Layers of proposers answer side by side; each reads all drafts of the layer before, in slot order; one
aggregator ends it. A proposer that fails is left out and leaves no gap. Every other method is this loop with
stages between its layers or another end behind them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache

from moa_mcp.domain.errors import RunFailed
from moa_mcp.domain.model import PROPOSER, Answer, Batch, Branch, Call, Draft, Flow, Message, Outcome, Task
from moa_mcp.domain.preset import Preset, Proposer
from moa_mcp.flows import schedule
from moa_mcp.flows.calls import all_refused, call_notes, make_call
from moa_mcp.flows.conclude import conclude
from moa_mcp.flows.conclude.advise import task_for_proposers, works_without_drafts
from moa_mcp.flows.route import route
from moa_mcp.flows.route.replace_duplicates import replace_duplicates
from moa_mcp.flows.screen import screen
from moa_mcp.flows.slot import branch_for
from moa_mcp.flows.stages.draft_warnings import draft_warnings
from moa_mcp.flows.stages.residual import aggregate_layer, residual
from moa_mcp.flows.stages.roles import roles
from moa_mcp.flows.stages.samples import count_distinct_samples
from moa_mcp.flows.stages.stop import stop
from moa_mcp.flows.state import Participant, Reference, Stage, State
from moa_mcp.prompts.panel import messages_for

REFUSED = "Every model of the panel refused to answer:"


def mixture(task: Task, preset: Preset) -> Flow:
    """Take `task` through the layers and stages of `preset`.

    Raises:
        RunFailed: the first layer gave fewer drafts than `min_drafts`, or nobody could write an answer.
    """
    state = State(tuple(Participant(number, slot) for number, slot in enumerate(preset.slots, start=1)))
    for stage in (route, roles):  # who is not asked needs no role
        state = yield from stage(task, preset, state)
    for layer in range(1, preset.layers):
        if state.stop_reason is not None:
            break
        state = yield from propose(task, preset, replace(state, layer=layer))
        for stage in (screen, residual, stop, aggregate_layer):
            state = yield from stage(task, preset, state)
    answer = state.answer or (yield from conclude(task, preset, state))
    return Answer(
        answer.text,
        state.degraded or answer.degraded,
        (*state.notes, *answer.notes),
        {**state.facts, **answer.method},
        state.learned,
    )


def propose(task: Task, preset: Preset, state: State) -> Stage:
    """Run one layer of proposers. Its drafts become the references; those it read become `before`."""
    batch = proposals(task, preset, state)
    outcomes = yield batch
    if learned := _learned_texts(outcomes):
        state = replace(state, learned={**state.learned, **learned})
    state = state.with_notes(*call_notes(batch.all_calls, outcomes), *draft_warnings(task, batch.all_calls, outcomes))
    by_slot = {call.slot: outcome for call, outcome in zip(batch.all_calls, outcomes, strict=True)}
    answered = ((participant, by_slot[participant.number]) for participant in state.participants)
    drafted = tuple(Reference(participant, outcome) for participant, outcome in answered if isinstance(outcome, Draft))
    state, references = yield from replace_duplicates(task, preset, state, drafted, proposals)
    if len(references) >= min(preset.min_drafts, len(state.participants)):
        return count_distinct_samples(replace(state, previous=state.references, references=references, residual=None))
    if not state.references and not works_without_drafts(preset):
        few = f"The panel gave {len(references)} of the {preset.min_drafts} drafts it needs:"
        raise RunFailed(REFUSED if all_refused(outcomes) else few, state.notes)
    # What the layer before wrote is paid for and good: the answer rests on that.
    left = f"layer {state.layer} gave too few drafts and was left out"
    return replace(state.with_notes(left), degraded=True, stop_reason=left)


def _learned_texts(outcomes: Sequence[Outcome]) -> dict[str, str]:
    """What the panels that stood in slots have learned."""
    return {key: text for one in outcomes if isinstance(one, Draft) for key, text in one.learned.items()}


def proposals(task: Task, preset: Preset, state: State) -> Batch:
    """The calls and branches of one proposer layer, one per participant."""
    task = task_for_proposers(task, preset)

    @cache  # who has no instruction of their own is told the same, and the drafts are fenced once
    def messages_for_instruction(instruction: str | None) -> tuple[Message, ...]:
        return messages_for(task, state.texts, preset.prompt_style, instruction, state.reader_notes)

    calls: list[Call] = []
    branches: list[Branch] = []
    for participant in state.participants:
        identity = f"{state.layer}.{participant.number}"
        if isinstance(participant.slot, Proposer):
            instruction = "\n\n".join(part for part in (participant.slot.role, participant.instruction) if part) or None
            calls.append(
                make_call(
                    participant.slot,
                    messages_for_instruction(instruction),
                    identity,
                    PROPOSER,
                    layer=state.layer,
                    slot=participant.number,
                )
            )
        else:
            branches.append(branch_for(task, participant, state, identity, panel=mixture))
    return Batch(
        state.layer,
        tuple(calls),
        tuple(branches),
        enough=preset.min_drafts,
        grace_seconds=preset.straggler_grace_seconds,
        until=schedule.proposer_layer_end(state.layer, preset),
    )
