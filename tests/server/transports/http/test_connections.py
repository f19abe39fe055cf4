"""Who leaves when a port is full."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from moa_mcp.server.transports.http.connections import ConnectionLimit


@dataclass(eq=False)
class Peer:
    """A connection."""

    owner: str | None = None
    busy: bool = False
    closed: bool = False

    def close(self) -> None:
        self.closed = True


@pytest.mark.parametrize(
    ("there", "leaves"),
    [
        ([Peer(), Peer()], 0),
        ([Peer("anne"), Peer()], 1),
        ([Peer("anne", busy=True), Peer("anne")], 1),
        ([Peer("anne"), Peer("ben")], 0),
        ([Peer("anne", busy=True), Peer("ben", busy=True)], None),
    ],
)
def test_the_oldest_of_those_who_matter_least_leaves(there: list[Peer], leaves: int | None) -> None:
    limit = ConnectionLimit(2)
    for peer in (*there, newest := Peer()):
        limit.add(peer)

    assert [number for number, peer in enumerate(there) if peer.closed] == ([] if leaves is None else [leaves])
    assert not newest.closed


def test_where_all_are_at_work_one_more_waits_and_makes_way_for_the_next() -> None:
    limit = ConnectionLimit(1)
    busy, waiting, next_one = Peer("anne", busy=True), Peer(), Peer()
    for peer in (busy, waiting, next_one):
        limit.add(peer)

    assert (busy.closed, waiting.closed, next_one.closed) == (False, True, False)


def test_one_that_was_answered_counts_as_new_and_one_that_left_makes_room() -> None:
    limit = ConnectionLimit(2)
    first, second, third, fourth = (Peer() for _ in range(4))
    limit.add(first)
    limit.add(second)
    limit.renew(first)
    limit.add(third)
    assert (first.closed, second.closed) == (False, True)

    limit.discard(third)
    limit.renew(third)
    limit.add(fourth)
    assert not first.closed
