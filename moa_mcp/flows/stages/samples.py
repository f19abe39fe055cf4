"""Check whether samples of one model differ: a copy costs as much as another draft and adds nothing."""

from __future__ import annotations

from collections import defaultdict

from moa_mcp.domain.preset import Proposer
from moa_mcp.flows.state import Reference, State


def count_distinct_samples(state: State) -> State:
    """Count the different texts among the samples of each model; if some are copies, add a note."""
    groups: defaultdict[Proposer, list[Reference]] = defaultdict(list)
    for reference in state.references:
        slot = reference.participant.slot
        if isinstance(slot, Proposer) and slot.samples > 1:
            groups[slot].append(reference)
    if not groups:
        return state
    counted = [(slot, len(group), len({one.text for one in group})) for slot, group in groups.items()]
    notes = [
        f"{drafts - unique} of {drafts} samples of {slot.model} in layer {state.layer} are copies of others: they "
        "add nothing. Is its temperature 0, or does its provider cache replies?"
        for slot, drafts, unique in counted
        if unique < drafts
    ]
    return state.with_notes(*notes).with_facts(unique_samples=sum(unique for _, _, unique in counted))
