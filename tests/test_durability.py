"""Servers that are killed in the middle of their runs lose no acknowledged draft and pay for nothing twice."""

import random
from pathlib import Path

import pytest

from benchmarks.durability import CALLS, QUESTIONS, kill_once
from tests.upstream.process import upstream_process

pytestmark = pytest.mark.slow

KILLS = 20


def test_whatever_moment_a_server_is_killed_at_its_runs_go_on_where_they_stopped(tmp_path: Path) -> None:
    dice = random.Random(11)
    with upstream_process(delay_ms=1, jitter_ms=5) as upstream:
        moments = [dice.randrange(len(QUESTIONS) * CALLS) for _ in range(KILLS)]
        left = [kill_once(tmp_path / str(number), upstream, moment) for number, moment in enumerate(moments)]

    assert not any(one.corrupt for one in left)
    assert [one.lost for one in left] == [0] * KILLS
    assert [one.paid_twice for one in left] == [0] * KILLS
    assert {state for one in left for state in one.states} <= {"interrupted", "completed"}
    assert any("interrupted" in one.states for one in left)
    assert {end for one in left for end in one.ends} == {"completed"}
