"""A flow in a call's place: its calls know the branches they run in and have ids of their own in the whole run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from moa_mcp.domain.model import PROPOSER, Answer, Batch, Branch, Call, Flow, PanelCall

AnyCall = TypeVar("AnyCall", bound=Call)


def branch_in_slot(branch_id: str, layer: int, slot: int, name: str, flow: Callable[[], Flow]) -> Branch:
    """The branch that runs `flow` in a proposer's slot; `name` is how records call it."""
    stand_in = PanelCall(branch_id, PROPOSER, layer, slot, f"panel/{name}", ())
    return Branch(stand_in, lambda: prefix_ids(flow(), stand_in))


def prefix_ids(flow: Flow, place: PanelCall) -> Flow:
    """`flow` with all it yields moved to `place`: its layer and slot, and ids that no other call of the run has."""
    batch = next(flow)
    while True:
        outcomes = yield _prefix_batch(batch, place)
        try:
            batch = flow.send(outcomes)
        except StopIteration as stop:
            answer: Answer = stop.value
            return answer


def _prefix_batch(batch: Batch, place: PanelCall) -> Batch:
    def prefixed(inner_id: str) -> str:
        return f"{place.id}/{inner_id}"

    def moved(inner: AnyCall) -> AnyCall:
        return replace(
            inner,
            id=prefixed(inner.id),
            branches=(place.id, *map(prefixed, inner.branches)),
            repeat_of=inner.repeat_of and prefixed(inner.repeat_of),
            layer=place.layer,
            slot=place.slot,
        )

    def deeper(inner: Branch) -> Branch:
        stand_in = moved(inner.call)
        return Branch(stand_in, lambda: prefix_ids(inner.flow(), place))

    return replace(
        batch,
        layer=place.layer,
        calls=tuple(moved(inner) for inner in batch.calls),
        branches=tuple(deeper(inner) for inner in batch.branches),
    )
