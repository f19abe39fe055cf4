"""Long runs are rendered without a delay for other requests."""

from __future__ import annotations

from threading import get_ident

import pytest

from moa_mcp.domain.model import Run, Task
from moa_mcp.domain.preset import Aggregator, Preset, Proposer
from moa_mcp.server.tools.results import LONG, rendered

PRESET = Preset(name="two", proposers=(Proposer(model="lab/p"),), aggregator=Aggregator(model="lab/a"))


@pytest.mark.parametrize(("length", "beside"), [(LONG, False), (LONG + 1, True)])
async def test_long_texts_are_rendered_beside_the_other_work(length: int, beside: bool) -> None:
    run = Run("run1", "two", PRESET, Task("Q?"), answer="a" * length)

    assert (await rendered(run, get_ident) != get_ident()) is beside
