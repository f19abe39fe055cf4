"""Mixture-of-Agents (Wang et al. 2024, arXiv 2406.04692): the paper on one screen.

Layers of proposers answer side by side; each reads all drafts of the layer before, in slot order; one
aggregator ends it. A proposer that fails is left out and leaves no gap. Every other method is this loop with
stages between its layers or another end behind them.
"""

from __future__ import annotations

from dataclasses import replace

from moa_mcp.errors import RunFailed
from moa_mcp.flows.calls import call_to, remarks, until
from moa_mcp.flows.conclude import conclude
from moa_mcp.flows.residual import residual
from moa_mcp.flows.roles import roles
from moa_mcp.flows.route import route
from moa_mcp.flows.screen import screen
from moa_mcp.flows.slot import branch_for
from moa_mcp.flows.state import Reference, Seat, Stage, State
from moa_mcp.flows.stop import stop
from moa_mcp.model import PROPOSER, Answer, Batch, Branch, Call, Draft, Flow, Task
from moa_mcp.preset import Preset, Proposer
from moa_mcp.prompts import messages_for


def mixture(task: Task, preset: Preset) -> Flow:
    """Take `task` through the layers and stages of `preset`.

    Raises:
        RunFailed: the first layer gave fewer drafts than `min_drafts`, or nobody could write an answer.
    """
    state = State(tuple(Seat(number, slot) for number, slot in enumerate(preset.slots, start=1)))
    for stage in (roles, route):
        state = yield from stage(task, preset, state)
    for layer in range(1, preset.layers):
        if state.ended is not None:
            break
        state = yield from propose(task, preset, replace(state, layer=layer))
        for stage in (screen, residual, stop):
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
    state = state.noting(*remarks(batch.asked, outcomes))
    drafts = {
        call.slot: outcome
        for call, outcome in zip(batch.asked, outcomes, strict=True)
        if isinstance(outcome, Draft)
    }
    if len(drafts) >= min(preset.min_drafts, len(state.seats)):
        references = tuple(
            Reference(seat, drafts[seat.number]) for seat in state.seats if seat.number in drafts
        )
        return replace(state, before=state.references, references=references)
    if not state.references:
        raise RunFailed(
            f"The panel gave {len(drafts)} of the {preset.min_drafts} drafts it needs:", state.notes
        )
    # What the layer before wrote is paid for and good: the answer rests on that.
    left = f"layer {state.layer} gave too few drafts and was left out"
    return replace(state.noting(left), degraded=True, ended=left)


def proposals(task: Task, preset: Preset, state: State) -> Batch:
    """The calls and branches of one proposer layer, one per seat."""
    calls: list[Call] = []
    branches: list[Branch] = []
    for seat in state.seats:
        identity = f"{state.layer}.{seat.number}"
        if isinstance(seat.slot, Proposer):
            told = "\n\n".join(part for part in (seat.slot.role, seat.instruction) if part) or None
            messages = messages_for(task, state.texts, preset.prompt_style, told, state.extra)
            calls.append(
                call_to(seat.slot, messages, identity, PROPOSER, layer=state.layer, slot=seat.number)
            )
        else:
            branches.append(branch_for(task, seat, state, identity, panel=mixture))
    return Batch(
        state.layer,
        tuple(calls),
        tuple(branches),
        enough=preset.min_drafts,
        grace_seconds=preset.straggler_grace_seconds,
        until=until(state.layer, preset.layers - 1),
    )
