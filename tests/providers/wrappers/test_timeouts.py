"""A call ends when it is silent for too long, or takes too long."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import anyio
import pytest

from moa_mcp.domain.errors import ProviderError, Reason
from moa_mcp.domain.model import Call, Draft
from moa_mcp.providers.base import OnText, ignore_text
from moa_mcp.providers.wrappers.timeouts import Timeouts, TimeoutSettings
from tests import clock
from tests.results import as_draft

pytestmark = clock.jumping


class Slow:
    """Gives some pieces and then never ends; `left` is the time that it was given before each, and after."""

    def __init__(self, pieces: Sequence[str] = ()) -> None:
        self._pieces = pieces
        self.left: list[float] = []

    async def complete(self, call: Call, on_text: OnText) -> Draft:
        for piece in self._pieces:
            self._look()
            on_text(piece)
        self._look()
        await anyio.sleep_forever()
        raise AssertionError("unreachable")

    def _look(self) -> None:
        self.left.append(anyio.current_effective_deadline() - anyio.current_time())


class Dripping:
    """Gives the same piece for ever, each before the patience with the last is at its end."""

    def __init__(self, piece: str) -> None:
        self._piece = piece

    async def complete(self, call: Call, on_text: OnText) -> Draft:
        while True:
            on_text(self._piece)
            await anyio.sleep(25)


class Quick:
    async def complete(self, call: Call, on_text: OnText) -> Draft:
        on_text("blue")
        return Draft("blue")


async def test_a_call_ends_by_itself_a_moment_before_its_layer_so_that_what_it_said_can_be_kept(
    make_call: Callable[..., Call],
) -> None:
    with anyio.move_on_after(20) as layer, pytest.raises(ProviderError) as caught:
        await Timeouts(Dripping("blue ")).complete(make_call(timeout_seconds=None), ignore_text)

    assert not layer.cancelled_caught
    assert (caught.value.reason, caught.value.sent_text) == (Reason.DEADLINE, True)


@pytest.mark.parametrize(
    ("pieces", "reason", "received", "seconds"),
    [
        ((), Reason.TIMEOUT, False, 60),
        (("",), Reason.STALLED, False, 60),
        (("blu",), Reason.STALLED, True, 30),
        (("blu", ""), Reason.STALLED, True, 30),
    ],
)
async def test_a_call_that_falls_silent_ends_and_knows_whether_text_came(
    make_call: Callable[..., Call], pieces: Sequence[str], reason: Reason, received: bool, seconds: float
) -> None:
    started = anyio.current_time()
    with pytest.raises(ProviderError) as caught:
        await Timeouts(Slow(pieces)).complete(make_call(timeout_seconds=100), ignore_text)

    assert (caught.value.reason, caught.value.sent_text, caught.value.reached) == (reason, received, True)
    assert anyio.current_time() - started == seconds


@pytest.mark.parametrize("piece", ["", "on "])
async def test_a_call_that_lives_for_ever_ends_at_its_limit(make_call: Callable[..., Call], piece: str) -> None:
    started = anyio.current_time()
    with pytest.raises(ProviderError) as caught:
        await Timeouts(Dripping(piece)).complete(make_call(timeout_seconds=None), ignore_text)

    assert (caught.value.reason, anyio.current_time() - started) == (Reason.TIMEOUT, 180)
    assert "after 180 s" in str(caught.value)


@pytest.mark.parametrize(
    ("given", "pieces", "limits"),
    [
        ({}, (), [60]),
        ({"effort": "high"}, (), [120]),
        ({}, ("", "blu", ""), [60, 60, 30, 30]),
        ({"timeout_seconds": 20}, ("blu",), [20, 20]),
        ({"timeout_seconds": 40}, ("blu",), [40, 30]),
    ],
)
async def test_each_sign_of_life_gives_a_call_more_time_but_not_beyond_its_limit(
    make_call: Callable[..., Call], given: dict[str, object], pieces: Sequence[str], limits: list[float]
) -> None:
    slow = Slow(pieces)
    async with anyio.create_task_group() as calls:
        calls.start_soon(Timeouts(slow).complete, make_call(**{"timeout_seconds": None, **given}), ignore_text)
        await anyio.wait_all_tasks_blocked()
        calls.cancel_scope.cancel()

    assert slow.left == limits


async def test_an_impatient_caller_waits_for_as_long_as_it_says(make_call: Callable[..., Call]) -> None:
    started = anyio.current_time()
    with pytest.raises(ProviderError):
        await Timeouts(Slow(), TimeoutSettings(first=5)).complete(make_call(), ignore_text)

    assert anyio.current_time() - started == 5


async def test_a_call_within_its_limits_is_left_alone(make_call: Callable[..., Call]) -> None:
    pieces: list[str] = []
    draft = as_draft(await Timeouts(Quick()).complete(make_call(), pieces.append))

    assert (draft.text, pieces) == ("blue", ["blue"])
