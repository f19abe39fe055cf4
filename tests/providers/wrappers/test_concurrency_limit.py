"""How many calls run side by side."""

from __future__ import annotations

from collections.abc import Callable

import anyio
import anyio.lowlevel
import pytest

from moa_mcp.domain.errors import ProviderError, Reason
from moa_mcp.domain.model import Call, Draft
from moa_mcp.providers.base import OnText, ignore_text
from moa_mcp.providers.wrappers.concurrency_limit import ConcurrencyLimit
from tests.results import as_draft


class Crowd:
    """Holds every call until as many as are expected are there at the same time."""

    def __init__(self) -> None:
        self.present = 0
        self.most = 0

    async def complete(self, call: Call, on_text: OnText) -> Draft:
        self.present += 1
        self.most = max(self.most, self.present)
        try:
            for _ in range(5):
                await anyio.lowlevel.checkpoint()
            if call.slot == 1:
                raise ProviderError(Reason.UNAVAILABLE)
            return Draft("blue")
        finally:
            self.present -= 1


async def test_no_more_calls_than_the_limit_run_at_the_same_time(make_call: Callable[..., Call]) -> None:
    crowd = Crowd()
    limited = ConcurrencyLimit(crowd, 3)

    with anyio.fail_after(5):
        async with anyio.create_task_group() as calls:
            for slot in range(2, 12):
                calls.start_soon(limited.complete, make_call(slot=slot), ignore_text)

    assert crowd.most == 3


async def test_a_call_that_fails_gives_its_turn_back(make_call: Callable[..., Call]) -> None:
    limited = ConcurrencyLimit(Crowd(), 1)

    with anyio.fail_after(5):
        with pytest.raises(ProviderError):
            await limited.complete(make_call(slot=1), ignore_text)
        draft = as_draft(await limited.complete(make_call(slot=2), ignore_text))

    assert draft.text == "blue"


async def test_a_call_that_is_cancelled_while_it_waits_takes_no_turn(make_call: Callable[..., Call]) -> None:
    limited = ConcurrencyLimit(Crowd(), 1)

    with anyio.fail_after(5):
        async with anyio.create_task_group() as calls:
            calls.start_soon(limited.complete, make_call(slot=2), ignore_text)
            await anyio.lowlevel.checkpoint()
            calls.start_soon(limited.complete, make_call(slot=3), ignore_text)
            calls.cancel_scope.cancel()
        draft = as_draft(await limited.complete(make_call(slot=4), ignore_text))

    assert draft.text == "blue"
