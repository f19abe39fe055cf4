"""Whether samples of one model differ: copies of one another cost as much as drafts and add nothing."""

from __future__ import annotations

from collections import defaultdict

from moa_mcp.flows.state import Reference, State
from moa_mcp.preset import Proposer


def samples(state: State) -> State:
    """Count the different texts among the samples of each model; where some are copies, say so in a note."""
    groups: defaultdict[Proposer, list[Reference]] = defaultdict(list)
    for reference in state.references:
        if isinstance(reference.seat.slot, Proposer):
            groups[reference.seat.slot].append(reference)
    counted = [(slot, len(group), len({one.text for one in group})) for slot, group in groups.items()]
    several = [one for one in counted if one[0].samples > 1]
    if not several:
        return state
    notes = [
        f"{drafts - unique} of {drafts} samples of {slot.model} in layer {state.layer} are copies of others: they "
        "add nothing. Is its temperature 0, or does its provider cache replies?"
        for slot, drafts, unique in several
        if unique < drafts
    ]
    return state.noting(*notes).telling(unique_samples=sum(unique for _, _, unique in several))
