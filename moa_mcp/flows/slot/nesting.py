"""A flow in a call's place: the ids of all its calls begin with the place's own, so that a run has one journal."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from moa_mcp.domain.model import PROPOSER, Answer, Batch, Branch, Call, Flow


def branch_in_slot(branch_id: str, layer: int, slot: int, name: str, flow: Callable[[], Flow]) -> Branch:
    """The branch that runs `flow` in a proposer's slot; `name` is how records call it."""
    stand_in = Call(branch_id, PROPOSER, layer, slot, f"panel/{name}", (), kind="panel")
    return Branch(stand_in, lambda: prefix_ids(flow(), stand_in))


def prefix_ids(flow: Flow, place: Call) -> Flow:
    """`flow` with all it yields moved to `place`: its ids prefixed, its layer and slot the place's own."""
    batch = next(flow)
    while True:
        outcomes = yield _prefix_batch(batch, place)
        try:
            batch = flow.send(outcomes)
        except StopIteration as stop:
            answer: Answer = stop.value
            return answer


def _prefix_batch(batch: Batch, place: Call) -> Batch:
    def call(inner: Call) -> Call:
        return replace(inner, id=f"{place.id}/{inner.id}", layer=place.layer, slot=place.slot)

    def deeper(inner: Branch) -> Branch:
        stand_in = call(inner.call)
        return Branch(stand_in, lambda: prefix_ids(inner.flow(), place))

    return replace(
        batch,
        layer=place.layer,
        calls=tuple(call(inner) for inner in batch.calls),
        branches=tuple(deeper(inner) for inner in batch.branches),
    )
