"""Mixture-of-Agents (Wang et al. 2024, arXiv 2406.04692): the algorithm of the paper.

The proposers of a layer answer in parallel. Each reads all drafts of the layer before, in slot order. One aggregator
writes the answer. A proposer that fails is left out. `panel.py` puts the stages of a preset around
these layers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from typing import TypeAlias

from moa_mcp.domain.errors import RunFailed
from moa_mcp.domain.model import PROPOSER, Answer, Batch, Call, Draft, Flow, Message, Outcome, Task
from moa_mcp.domain.preset import Preset, Proposer
from moa_mcp.domain.shortfalls import Shortfall, merge_lost
from moa_mcp.flows import schedule
from moa_mcp.flows.calls import all_refused, call_notes, lost_drafts, make_call, reads_prefix_again
from moa_mcp.flows.conclude.synthesize import synthesize_after
from moa_mcp.flows.state import Conclusion, Participant, Reference, Stage, State, no_calls
from moa_mcp.prompts.panel import conversation_chars, messages_for
from moa_mcp.prompts.style import PromptForm, choose_form

REFUSED = "Every model of the panel refused to answer:"

Step: TypeAlias = Callable[[Task, Preset, State], Stage]
"""A part of the mixture that a caller can replace."""


def pass_on(task: Task, preset: Preset, state: State) -> Stage:
    """A step that does nothing."""
    yield from no_calls()
    return state


def propose(task: Task, preset: Preset, state: State) -> Stage:
    """Run one layer of proposers; its drafts become the references. Raises RunFailed."""
    batch = layer_batch(task, preset, state)
    outcomes = yield batch
    state = state.with_notes(*call_notes(batch.all_calls, outcomes))
    state = state.with_lost(lost_drafts(batch.all_calls, outcomes))
    return accept_drafts(preset, state, drafts_of(state, batch, outcomes), outcomes)


def mixture(
    task: Task,
    preset: Preset,
    *,
    before_layers: Step = pass_on,
    layer: Step = propose,
    after_layer: Step = pass_on,
    conclude: Callable[[Task, Preset, State], Conclusion] = synthesize_after,
) -> Flow:
    """Run `task` through the layers of `preset`; then the aggregator writes the answer.

    Raises:
        RunFailed: the first layer gave fewer drafts than `require_drafts`, a draft is missing and `on_partial` is
            refuse, or no model could write an answer.
    """
    state = State(tuple(Participant(number, slot) for number, slot in enumerate(preset.slots, start=1)))
    state = yield from before_layers(task, preset, state)
    _refuse_partial(preset, state)
    for number in range(1, preset.layers):
        if state.stop_reason is not None:
            break
        state = yield from layer(task, preset, replace(state, layer=number))
        state = yield from after_layer(task, preset, state)
    answer = state.answer or (yield from conclude(task, preset, state))
    notes = (*state.notes, *answer.notes)
    facts = {**state.facts, **answer.method}
    shortfalls, lost = state.shortfalls | answer.shortfalls, merge_lost(state.lost, answer.lost)
    return Answer(answer.text, shortfalls, notes, facts, state.learned, lost)


def layer_batch(task: Task, preset: Preset, state: State) -> Batch:
    """Build the calls of one proposer layer, one for each participant that is a model."""

    chars = conversation_chars(task)

    @cache  # participants without an own instruction share the messages of a form, so the drafts are enclosed once
    def messages(form: PromptForm, instruction: str | None) -> tuple[Message, ...]:
        return messages_for(task, state.texts, form, instruction, state.reader_notes)

    asked = [(one, one.slot) for one in state.participants if isinstance(one.slot, Proposer)]
    models = [slot.model for _, slot in asked]

    def caches(place: int) -> bool:
        """The first layer stores the prefix once per model, because its calls run side by side; later ones read it."""
        stores = state.layer > 1 or models.index(models[place]) == place
        return stores and reads_prefix_again(preset, models[place])

    def call(place: int, number: int, slot: Proposer, instruction: str | None) -> Call:
        instruction = "\n\n".join(part for part in (slot.role, instruction) if part) or None
        call_id = f"{state.layer}.{number}"
        found = messages(choose_form(preset.prompt_style, slot.model, chars), instruction)
        cache_prefix = found[-1].shared_chars > 0 and caches(place)
        return make_call(slot, found, call_id, PROPOSER, layer=state.layer, slot=number, cache_prefix=cache_prefix)

    return Batch(
        state.layer,
        tuple(call(place, one.number, slot, one.instruction) for place, (one, slot) in enumerate(asked)),
        enough=max(preset.min_drafts, preset.require_drafts),
        grace_seconds=preset.straggler_grace_seconds,
        until=schedule.proposer_layer_end(state.layer, preset),
    )


def drafts_of(state: State, batch: Batch, outcomes: Sequence[Outcome]) -> tuple[Reference, ...]:
    """The drafts among the outcomes of a layer, in slot order."""
    by_slot = {call.slot: outcome for call, outcome in zip(batch.all_calls, outcomes, strict=True)}
    answered = ((one, by_slot[one.number]) for one in state.participants)
    return tuple(Reference(participant, outcome) for participant, outcome in answered if isinstance(outcome, Draft))


def accept_drafts(
    preset: Preset, state: State, drafts: tuple[Reference, ...], outcomes: Sequence[Outcome], *, may_lack: bool = False
) -> State:
    """The state after a layer: its drafts become `references`, and the drafts that it read become `previous`.

    A later layer with fewer drafts than `min_drafts` is left out: the layers stop, and the drafts of the layer before
    are used. In the first layer, `require_drafts` are enough. If it has fewer and no drafts came before, RunFailed is
    raised, unless the run `may_lack` all drafts. What flows in slots lack, the panel lacks too.
    """
    for one in drafts:
        if one.draft.degraded or one.draft.partial:
            lost = (replace(inner, slot=one.participant.number) for inner in one.draft.lost)
            state = state.with_shortfalls(*one.draft.shortfalls).with_lost(lost)
    _refuse_partial(preset, state)
    wanted, required = (min(count, len(state.participants)) for count in (preset.min_drafts, preset.require_drafts))
    is_used = len(drafts) >= (required if state.layer == 1 else max(wanted, required))
    if not is_used and not state.references and not (may_lack and preset.require_drafts == 1):
        message = f"The panel gave {len(drafts)} of the {required} drafts it needs:"
        raise RunFailed(REFUSED if all_refused(outcomes) else message, state.notes)
    if not is_used:
        return _without_layer(state)
    if len(drafts) < wanted:
        note = f"layer {state.layer} gave {len(drafts)} of the {wanted} drafts that min_drafts asks for"
        state = state.with_notes(note).with_shortfalls(Shortfall.TOO_FEW_DRAFTS)
    return replace(state, previous=state.references, references=drafts, written=drafts, residual=None)


def _without_layer(state: State) -> State:
    """The state if the last layer gave too few drafts: those of the layer before are used, aggregated if they were."""
    note = f"layer {state.layer} gave too few drafts and was left out"
    state = replace(state.with_notes(note).with_shortfalls(Shortfall.TOO_FEW_DRAFTS), stop_reason=note)
    merged = state.fallback_answer if state.merged_layer == state.layer - 1 else None
    return replace(state, answer=Answer(merged.text, merged.shortfalls_as_answer)) if merged else state


def _refuse_partial(preset: Preset, state: State) -> None:
    """Raise RunFailed if a draft is missing and the preset refuses partial answers."""
    if preset.on_partial == "refuse" and state.lost:
        what = "Drafts are missing, and on_partial is refuse (with answer, the run goes on without them):"
        raise RunFailed(what, [str(one) for one in state.lost])
