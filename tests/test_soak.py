"""Under faults and with clients that leave, a server answers what can be answered and leaves nothing behind."""

import pytest

from benchmarks.soak import CLIENTS, measure

pytestmark = pytest.mark.slow


def test_every_ask_of_a_short_soak_ends_as_it_has_to_and_nothing_goes_on_after_it() -> None:
    found = measure(30)

    assert found["unexpected_first"] == []
    assert (found["completed"], found["failed_as_expected"], found["dropped"]) == (25, 2, 3)
    assert (found["unexpected"], found["upstream_in_flight_at_end"]) == (0, 0)
    runs = found["runs"]
    assert isinstance(runs, dict)
    assert "running" not in runs
    assert (runs["completed"], runs["failed"]) == (25 + CLIENTS, 2)
